import { type FileHandle, stat } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import { fault } from '#kit';
import type { Compression } from '#images/model';
import { closeFd, makePipe, programFailed, type RunningProgram, start } from '#host-kit';

/** A file or a whole tree of the host, and the name it has in the archive. No path may lie in another. */
export interface ArchivePart {
  path: string;
  name: string;
}

export interface WriteOptions {
  signal?: AbortSignal;
  /** Bytes of the file so far, about twice a second. */
  onBytes?: (bytes: number) => void;
}

const stderrTailBytes = 4000;
const someFilesChanged = 1;

/**
 * GNU tar's arguments: owners by number, extended attributes (ACLs and capabilities among them), hard links, holes. One run for all parts, each renamed from its
 * absolute path; targets of symbolic links stay what they are (flag S).
 */
export function archiveArguments(parts: readonly ArchivePart[]): string[] {
  const pattern = (text: string): string => text.replace(/[\\.*^$[\],]/g, '\\$&');
  const replacement = (text: string): string => text.replace(/[\\&,]/g, '\\$&');
  const renames = parts.map(({ path, name }) => `--transform=s,^${pattern(path)}\\(/\\|$\\),${replacement(name)}\\1,S`);
  return [
    '--create',
    '--format=posix',
    // Times of access and of inode changes would make equal trees differ.
    '--pax-option=delete=atime,delete=ctime',
    '--numeric-owner',
    '--xattrs',
    '--xattrs-include=*',
    '--sparse',
    '--absolute-names',
    '--warning=no-file-ignored',
    ...renames,
    '--file=-',
    '--',
    ...parts.map(({ path }) => path),
  ];
}

/**
 * Writes an archive to an open, empty file. The programs write to it themselves: no byte passes through this process.
 * @param path of the file, for compressors that cannot write to a pipe
 * @throws Fault unavailable: cancelled, or no space; internal
 */
export async function writeArchive(
  parts: readonly ArchivePart[],
  file: FileHandle,
  path: string,
  compression: Compression,
  options: WriteOptions = {},
): Promise<void> {
  const args = archiveArguments(parts);
  if (compression.program === undefined) {
    const tar = start('tar', args, { stdin: 'null', stdout: file.fd, stderr: 'pipe' });
    return finish([{ name: 'tar', args, child: tar }], path, options);
  }
  const { program, intoFile } = compression;
  const compressing = intoFile ? [...compression.args, path] : [...compression.args];
  const pipe = makePipe(1024 * 1024);
  const running: Running[] = [];
  try {
    const compressor = start(program, compressing, { stdin: pipe.readFd, stdout: intoFile ? 'null' : file.fd, stderr: 'pipe' });
    running.push({ name: program, args: compressing, child: compressor });
    running.unshift({ name: 'tar', args, child: start('tar', args, { stdin: 'null', stdout: pipe.writeFd, stderr: 'pipe' }) });
  } catch (error) {
    for (const { child } of running) child.kill('SIGKILL', true);
    throw error;
  } finally {
    closeFd(pipe.readFd);
    closeFd(pipe.writeFd);
  }
  return finish(running, path, options);
}

interface Running {
  name: string;
  args: readonly string[];
  child: RunningProgram;
}

async function finish(running: readonly Running[], path: string, { signal, onBytes }: WriteOptions): Promise<void> {
  const kill = (): void => running.forEach(({ child }) => void child.kill('SIGKILL', true));
  if (signal?.aborted) kill();
  signal?.addEventListener('abort', kill, { once: true });
  const timer =
    onBytes &&
    setInterval(
      () =>
        void stat(path).then(
          ({ size }) => onBytes(size),
          () => {},
        ),
      500,
    );
  try {
    const ended = await Promise.all(
      running.map(async (one) => {
        const stderr = tail(one.child.stderr);
        const ending = await one.child.ended;
        // One that failed leaves the other waiting for ever.
        if (ending.code !== 0 && !(one.name === 'tar' && ending.code === someFilesChanged)) kill();
        return { ...one, ending, stderr: await stderr };
      }),
    );
    if (signal?.aborted) throw fault.unavailable('The backup was cancelled', { cause: signal.reason });
    for (const { name, args, ending, stderr } of ended) {
      if (ending.code === 0 || (name === 'tar' && ending.code === someFilesChanged)) continue;
      throw archiveFailed(name, args, ending, stderr);
    }
  } finally {
    clearInterval(timer);
    signal?.removeEventListener('abort', kill);
  }
}

const archiveFailed = (name: string, args: readonly string[], ending: { code: number | null; signal: string | null }, stderr: Buffer): Error =>
  /No space left on device|Disk quota exceeded/.test(stderr.toString('latin1'))
    ? fault.unavailable('No space left for the backup', { status: 500 })
    : programFailed(name, args, ending, stderr, 'Failed to write the archive');

/** The same archive as a stream, uncompressed; it breaks, instead of ending, when tar did not succeed. Destroying it ends tar. */
export function streamArchive(parts: readonly ArchivePart[], onClose: () => unknown = () => {}): Readable {
  const args = archiveArguments(parts);
  const child = start('tar', args, { stdin: 'null', stdout: 'pipe', stderr: 'pipe' });
  const stderr = tail(child.stderr);
  const out = new PassThrough({ highWaterMark: 1024 * 1024 });
  child.stdout.on('error', (error) => out.destroy(error));
  child.stdout.pipe(out, { end: false });
  void child.ended.then(async (ending) => {
    const words = await stderr;
    if (ending.code !== 0 && ending.code !== someFilesChanged) return void out.destroy(archiveFailed('tar', args, ending, words));
    // What tar wrote last may still be in the pipe.
    if (child.stdout.readableEnded) out.end();
    else child.stdout.once('end', () => out.end());
  });
  out.once('close', () => {
    child.kill('SIGKILL', true);
    child.stdout.destroy();
    void child.ended.then(onClose);
  });
  return out;
}

async function tail(stream: Readable): Promise<Buffer> {
  let kept: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => (kept = Buffer.concat([kept, chunk]).subarray(-stderrTailBytes)));
  await new Promise<void>((resolve) => stream.once('close', resolve));
  return kept;
}
