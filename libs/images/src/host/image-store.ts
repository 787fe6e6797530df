import { createHash, randomBytes, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Fault, fault, faultPoint, type Logger } from '#kit';
import { isFingerprint } from '../model/index.js';

/** Files of one upload or download that are not yet an image; they go with their Incoming, unless they were committed. */
export interface Received {
  /** SHA-256 of all bytes, metadata first. */
  fingerprint: string;
  size: number;
  /** The unified image, or the metadata archive of a split one. */
  metaPath: string;
  rootfsPath?: string;
}

export interface ImageFiles {
  metaPath: string;
  metaSize: number;
  rootfsPath?: string;
  rootfsSize?: number;
}

/** Names of what is under way; everything else in the directory is FINGERPRINT or FINGERPRINT.rootfs. */
const temporary = 'incoming-';

/** STATE/images: one or two files an image, whole or not there. */
export class ImageStore {
  /** Being made or in use by this process, so that a sweep leaves it alone. */
  readonly #mine = new Set<string>();

  constructor(
    private readonly directory: string,
    private readonly log: Logger,
  ) {}

  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.directory)) {
      if (name.startsWith(temporary) && !this.#mine.has(name)) await rm(`${this.directory}/${name}`, { force: true });
    }
  }

  /** Begins an upload. */
  incoming(): Incoming {
    return new Incoming(
      () => this.#temporaryPath(),
      (paths) => this.#forget(paths),
    );
  }

  /** Makes received files the image. The same image there already is success: equal names mean equal bytes. */
  async commit(received: Received): Promise<void> {
    const target = this.path(received.fingerprint);
    if (received.rootfsPath) await rename(received.rootfsPath, `${target}.rootfs`);
    faultPoint('image rootfs in place');
    await rename(received.metaPath, target);
    await syncDirectory(this.directory);
    faultPoint('image in place');
  }

  path(fingerprint: string): string {
    if (!isFingerprint(fingerprint)) throw fault.notFound('Image not found');
    return `${this.directory}/${fingerprint}`;
  }

  async find(fingerprint: string): Promise<ImageFiles | undefined> {
    const metaPath = this.path(fingerprint);
    const [meta, rootfs] = await Promise.all([sizeOf(metaPath), sizeOf(`${metaPath}.rootfs`)]);
    if (meta === undefined) return undefined;
    return { metaPath, metaSize: meta, ...(rootfs === undefined ? {} : { rootfsPath: `${metaPath}.rootfs`, rootfsSize: rootfs }) };
  }

  /** @throws Fault notFound */
  async files(fingerprint: string): Promise<ImageFiles> {
    const found = await this.find(fingerprint);
    if (!found) throw fault.notFound('Image not found', { detail: `no files of ${fingerprint} on this member` });
    return found;
  }

  /** Nothing there is success. */
  async remove(fingerprint: string): Promise<void> {
    const path = this.path(fingerprint);
    await rm(path, { force: true });
    await rm(`${path}.rootfs`, { force: true });
  }

  /** Removes files that no image of this member has: a crash between file and row. */
  async sweep(wanted: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.directory)) {
      const fingerprint = name.replace(/\.rootfs$/, '');
      if (!isFingerprint(fingerprint) || wanted.has(fingerprint)) continue;
      this.log.warn({ fingerprint }, 'removing image files that belong to no image');
      await rm(`${this.directory}/${name}`, { force: true });
    }
  }

  #temporaryPath(): string {
    const name = `${temporary}${randomBytes(8).toString('hex')}`;
    this.#mine.add(name);
    return `${this.directory}/${name}`;
  }

  async #forget(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      await rm(path, { force: true });
      this.#mine.delete(path.slice(this.directory.length + 1));
    }
  }
}

/** An upload under way: files written and hashed as the bytes come. */
export class Incoming implements AsyncDisposable {
  readonly #hash: Hash = createHash('sha256');
  readonly #paths: string[] = [];
  readonly #scratch: string[] = [];
  #size = 0;

  constructor(
    private readonly newPath: () => string,
    private readonly forget: (paths: readonly string[]) => Promise<void>,
  ) {}

  /** The next file: first the unified image or the metadata, then the rootfs. @throws Fault unavailable when the disk is full, tooLarge over `maxBytes` */
  async write(bytes: AsyncIterable<Buffer> | Readable, options: { maxBytes?: number; onBytes?: (total: number) => void } = {}): Promise<string> {
    const path = this.newPath();
    this.#paths.push(path);
    const file = await open(path, 'wx', 0o600);
    const writer = new Writer(file);
    faultPoint('image file begun');
    try {
      for await (const chunk of bytes as AsyncIterable<Buffer>) {
        this.#hash.update(chunk);
        this.#size += chunk.length;
        if (options.maxBytes !== undefined && this.#size > options.maxBytes) throw fault.tooLarge('The image is larger than allowed');
        await writer.write(chunk);
        options.onBytes?.(this.#size);
      }
      await writer.flush();
      await file.datasync();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw fault.unavailable('No space left for the image', { status: 500, cause: error });
      if (error instanceof Fault) throw error;
      throw fault.invalid('The upload of the image broke off', { cause: error, detail: String(error) });
    } finally {
      await file.close();
    }
    faultPoint('image file written');
    return path;
  }

  /** A path for a file that a program makes on the way; it goes with this. */
  scratch(): string {
    const path = this.newPath();
    this.#scratch.push(path);
    return path;
  }

  /** No more comes. */
  finish(): Received {
    return {
      fingerprint: this.#hash.digest('hex'),
      size: this.#size,
      metaPath: this.#paths[0]!,
      ...(this.#paths[1] === undefined ? {} : { rootfsPath: this.#paths[1] }),
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.forget([...this.#paths, ...this.#scratch]);
  }
}

/** The bytes of a file of an image. */
export const readFile = (path: string): Readable => createReadStream(path, { highWaterMark: 1024 * 1024 });

const blockBytes = 1024 * 1024;

/** Writes in large blocks, one under way while the next is gathered: the thread pool is asked once a block, and the hash never waits for the disk. */
class Writer {
  #gathered: Buffer[] = [];
  #bytes = 0;
  #underWay: Promise<void> = Promise.resolve();

  constructor(private readonly file: FileHandle) {}

  async write(chunk: Buffer): Promise<void> {
    this.#gathered.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes >= blockBytes) await this.#send();
  }

  async flush(): Promise<void> {
    await this.#send();
    await this.#underWay;
  }

  async #send(): Promise<void> {
    const block = this.#gathered;
    [this.#gathered, this.#bytes] = [[], 0];
    await this.#underWay;
    this.#underWay = block.length === 0 ? Promise.resolve() : this.#writeAll(block);
    // Whoever waits next hears of it.
    this.#underWay.catch(() => {});
  }

  async #writeAll(block: Buffer[]): Promise<void> {
    let rest = block;
    while (rest.length > 0) {
      let { bytesWritten } = await this.file.writev(rest);
      // A short write is rare: the rest goes in one piece.
      while (rest.length > 0 && bytesWritten >= rest[0]!.length) {
        bytesWritten -= rest[0]!.length;
        rest = rest.slice(1);
      }
      if (rest.length > 0) rest = [rest[0]!.subarray(bytesWritten), ...rest.slice(1)];
    }
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
