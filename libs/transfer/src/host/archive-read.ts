import { open } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { fault, Fault } from '#kit';
import { closeFd, makePipe, programFailed, type RunningProgram, start } from '#host-kit';
import { type ArchiveFormat, archiveFormat } from '#images/host';

/** index.yaml is the first member of every backup; what comes after this many is not looked at. */
const membersMax = 64;
const readingMs = 10 * 60_000;

/** An archive in a file of ours: made by a stranger, trusted in nothing. */
export class Archive {
  private constructor(
    private readonly path: string,
    private readonly format: ArchiveFormat,
  ) {}

  /** @throws Fault invalid for what is no archive */
  static async open(path: string): Promise<Archive> {
    const file = await open(path, 'r');
    try {
      const head = Buffer.alloc(263);
      const { bytesRead } = await file.read(head, 0, head.length, 0);
      const format = archiveFormat(head.subarray(0, bytesRead));
      if (format?.kind !== 'tar') throw fault.invalid('The backup is not a tarball');
      return new Archive(path, format);
    } finally {
      await file.close();
    }
  }

  /** The text of one of the first members. Undefined when there is none of that name. @throws Fault invalid for a broken archive, or a larger member */
  async text(name: string, maxBytes: number): Promise<string | undefined> {
    const { stream, stop } = await this.#plain();
    const timer = setTimeout(() => stream.destroy(new Error('deadline')), readingMs);
    const tar = extract();
    stream.on('error', (error) => tar.destroy(error));
    stream.pipe(tar);
    let members = 0;
    try {
      for await (const entry of tar) {
        if (entry.header.name.replace(/^\.\//, '') === name) {
          if (entry.header.type !== 'file' || (entry.header.size ?? 0) > maxBytes) throw fault.invalid(`Invalid backup: bad ${name}`);
          const chunks: Buffer[] = [];
          for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
          return Buffer.concat(chunks).toString('utf8');
        }
        if (++members > membersMax) return undefined;
        entry.resume();
      }
      return undefined;
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw fault.invalid('The backup is not a readable archive', { cause: error, detail: String(error) });
    } finally {
      clearTimeout(timer);
      tar.destroy();
      stop();
    }
  }

  /**
   * Unpacks what lies below `prefix` into an empty directory, by GNU tar. It takes leading slashes off names and link targets, refuses names with `..`, and makes
   * symlinks that are absolute or lead upwards only after everything else, so that no member is written through one: nothing lands outside `target`.
   * @param top the owner and mode of `prefix` itself become those of `target`
   * @throws Fault invalid: the archive is broken, or has no such part; unavailable: no space, or cancelled
   */
  async extract(prefix: string, target: string, { top, signal }: { top: boolean; signal?: AbortSignal }): Promise<void> {
    const pattern = prefix.replace(/[\\.*^$[\],]/g, '\\$&');
    const place = top ? [`--transform=s,^${pattern},.,S`] : [`--strip-components=${prefix.split('/').length}`];
    const args = [
      '--extract',
      '--restrict',
      '--force-local',
      '--numeric-owner',
      '--same-owner',
      '--same-permissions',
      '--xattrs',
      '--xattrs-include=*',
    ];
    args.push('--delay-directory-restore', '--sparse', ...place, '--directory', target, '--file=-', '--', prefix);
    await using file = await open(this.path, 'r');
    const { decompress } = this.format;
    const running: Running[] = [];
    const tarFrom = (fd: number): number =>
      running.push({ name: 'tar', args, child: start('tar', args, { stdin: fd, stdout: 'null', stderr: 'pipe', diesWithUs: true }) });
    if (!decompress) {
      tarFrom(file.fd);
    } else {
      const pipe = makePipe(1024 * 1024);
      const [name, ...options] = decompress;
      try {
        tarFrom(pipe.readFd);
        running.push({
          name,
          args: options,
          child: start(name, options, { stdin: file.fd, stdout: pipe.writeFd, stderr: 'pipe', diesWithUs: true }),
        });
      } catch (error) {
        for (const { child } of running) child.kill('SIGKILL', true);
        throw error;
      } finally {
        closeFd(pipe.readFd);
        closeFd(pipe.writeFd);
      }
    }
    await finish(running, signal);
  }

  /** One member as it is, for a program that reads standard input. @throws Fault invalid when it is not there */
  async pipeMember(name: string, into: (member: Readable) => Promise<void>): Promise<void> {
    const { stream, stop } = await this.#plain();
    const tar = extract();
    stream.on('error', (error) => tar.destroy(error));
    stream.pipe(tar);
    try {
      for await (const entry of tar) {
        if (entry.header.name === name && entry.header.type === 'file') return await into(entry as unknown as Readable);
        entry.resume();
      }
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw fault.invalid('The backup is not a readable archive', { cause: error, detail: String(error) });
    } finally {
      tar.destroy();
      stop();
    }
    throw fault.invalid(`Could not find "${name}" in the backup`);
  }

  async #plain(): Promise<{ stream: Readable; stop: () => void }> {
    const { decompress } = this.format;
    if (!decompress) {
      const stream = createReadStream(this.path, { highWaterMark: 1024 * 1024 });
      return { stream, stop: () => stream.destroy() };
    }
    await using file = await open(this.path, 'r');
    const child = start(decompress[0], decompress.slice(1), { stdin: file.fd, stdout: 'pipe', stderr: 'null' });
    return {
      stream: child.stdout,
      stop: () => {
        child.stdout.destroy();
        child.kill('SIGKILL');
      },
    };
  }
}

interface Running {
  name: string;
  args: readonly string[];
  child: RunningProgram;
}

async function finish(running: readonly Running[], signal?: AbortSignal): Promise<void> {
  const kill = (): void => running.forEach(({ child }) => void child.kill('SIGKILL', true));
  if (signal?.aborted) kill();
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const ended = await Promise.all(
      running.map(async (one) => {
        let words: Buffer = Buffer.alloc(0);
        one.child.stderr.on('data', (chunk: Buffer) => (words = Buffer.concat([words, chunk]).subarray(-4000)));
        const ending = await one.child.ended;
        // One that failed leaves the other waiting for ever.
        if (ending.code !== 0) kill();
        return { ...one, ending, words };
      }),
    );
    if (signal?.aborted) throw fault.unavailable('The import was cancelled', { cause: signal.reason });
    for (const { name, args, ending, words } of ended) {
      if (ending.code === 0) continue;
      if (/No space left on device|Disk quota exceeded/.test(words.toString('latin1')))
        throw fault.unavailable('No space left for the backup', { status: 500 });
      throw fault.invalid('The backup could not be unpacked', { cause: programFailed(name, args, ending, words), detail: words.toString() });
    }
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}
