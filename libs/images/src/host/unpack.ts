import { lstat, mkdir, open, readdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { fault } from '#kit';
import { closeFd, makePipe, spaceOf, start, type RunningProgram } from '#host-kit';
import { treeTimeoutMs } from '#storage/host';
import { formatOf } from './archive.js';
import type { ImageFiles } from './image-store.js';

export interface UnpackOptions {
  signal?: AbortSignal;
  /** Leaves device nodes out: for a member that may not make any. */
  withoutDevices?: boolean;
}

/** Unpacks an image's files into an empty directory, and checks that what came is an image. @throws Fault invalid, unavailable (disk full, cancelled) */
export async function unpackImage(files: ImageFiles, path: string, options: UnpackOptions = {}): Promise<void> {
  await unpackArchive(files.metaPath, path, options);
  const rootfs = `${path}/rootfs`;
  if (files.rootfsPath) {
    // The metadata archive must not have put a link where the root file system goes.
    await requireKind(rootfs, 'directory', { missing: 'ok' });
    await mkdir(rootfs, { recursive: true, mode: 0o755 });
    await unpackArchive(files.rootfsPath, rootfs, options);
  }
  await requireKind(rootfs, 'directory');
  await requireKind(`${path}/metadata.yaml`, 'file');
  await requireKind(`${path}/templates`, 'directory', { missing: 'ok' });
  for (const name of await readdir(`${path}/templates`).catch(() => [])) await requireKind(`${path}/templates/${name}`, 'file');
}

async function unpackArchive(file: string, path: string, options: UnpackOptions): Promise<void> {
  const format = await formatOf(file);
  if (format.kind === 'squashfs') return unsquash(file, path, options);
  if (format.kind !== 'tar') throw fault.invalid(`Unsupported image format: ${format.extension}`);
  return untar(file, format.decompress, path, options);
}

/**
 * By GNU tar. It takes leading slashes off names and link targets, refuses names with `..`, and makes symlinks that are absolute or lead upwards only
 * after everything else, so that no member is written through one: whatever the archive, nothing lands outside `path`.
 */
async function untar(file: string, decompress: readonly [string, ...string[]] | undefined, path: string, options: UnpackOptions): Promise<void> {
  const devices = options.withoutDevices
    ? ['--wildcards', '--exclude=dev/*', '--exclude=./dev/*', '--exclude=rootfs/dev/*', '--exclude=./rootfs/dev/*']
    : [];
  const args = [
    '--restrict',
    '--force-local',
    '--numeric-owner',
    '--same-owner',
    '--same-permissions',
    '--xattrs',
    '--xattrs-include=*',
    '--delay-directory-restore',
  ];
  const source = await open(file, 'r');
  // The two programs share a pipe: the bytes never come here.
  const pipe = decompress ? makePipe(1024 * 1024) : undefined;
  const running: RunningProgram[] = [];
  try {
    if (decompress)
      running.push(start(decompress[0], decompress.slice(1), { stdin: source.fd, stdout: pipe!.writeFd, stderr: 'pipe', diesWithUs: true }));
    running.push(
      start('tar', [...devices, ...args, '-C', path, '-xf', '-'], {
        stdin: pipe?.readFd ?? source.fd,
        stdout: 'null',
        stderr: 'pipe',
        diesWithUs: true,
      }),
    );
  } finally {
    if (pipe) for (const fd of [pipe.readFd, pipe.writeFd]) closeFd(fd);
    await source.close();
  }
  await allEnded(running, path, options.signal);
}

/** Waits for programs that work together; one that fails, and it is over. @throws Fault */
async function allEnded(running: readonly RunningProgram[], path: string, signal?: AbortSignal): Promise<void> {
  const stop = (): void => running.forEach((program) => program.kill('SIGKILL', true));
  const timer = setTimeout(stop, treeTimeoutMs);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  try {
    const results = await Promise.all(running.map(async (program) => ({ words: await tailOf(program.stderr), ending: await program.ended })));
    if (signal?.aborted) throw fault.unavailable('Unpacking the image was cancelled');
    const failed = results.findLast(({ ending }) => ending.code !== 0);
    if (!failed) return;
    const detail = results.map(({ words, ending }) => `${ending.code ?? ending.signal}: ${words}`).join('\n');
    if ((await spaceOf(path)).freeBytes < 1024 * 1024 || /No space left|quota exceeded/i.test(detail))
      throw fault.unavailable('No space left on the storage pool', { status: 500, detail });
    throw fault.invalid('The image could not be unpacked', { detail });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

const tailBytes = 4000;

async function tailOf(stream: Readable): Promise<string> {
  let tail = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) tail = Buffer.concat([tail, chunk]).subarray(-tailBytes);
  return tail.toString('utf8').trim();
}

async function unsquash(file: string, path: string, { signal }: UnpackOptions): Promise<void> {
  const program = start('unsquashfs', ['-f', '-n', '-q', '-d', path, file], { stdin: 'null', stdout: 'null', stderr: 'pipe', diesWithUs: true });
  await allEnded([program], path, signal);
}

async function requireKind(path: string, kind: 'file' | 'directory', options: { missing?: 'ok' } = {}): Promise<void> {
  let found;
  try {
    found = await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && options.missing === 'ok') return;
    throw fault.invalid(`The image has no ${path.slice(path.lastIndexOf('/') + 1)}`);
  }
  if (kind === 'file' ? !found.isFile() : !found.isDirectory())
    throw fault.invalid(`The image's ${path.slice(path.lastIndexOf('/') + 1)} is not a ${kind}`);
}
