import {
  chmodSync,
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  read,
  utimesSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { ReadStream, Stats, WriteStream } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { fault, Fault } from '#kit';
import { withFileIds } from './file-ids.js';
import { check, checkRestarting, closeFd, cString, errorCode, libc } from './libc.js';
import { mayEnterDefault, O_CLOEXEC, O_PATH, openat2, RESOLVE_NO_XDEV, resolveIn, type ResolveOptions } from './resolve.js';

const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY, O_APPEND, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY, O_DIRECTORY, S_IFCHR, S_IFBLK } = constants;
const AT_EMPTY_PATH = 0x1000;
const AT_REMOVEDIR = 0x200;
const RENAME_NOREPLACE = 1;
const sliceMs = 10;
const chunkBytes = 64 * 1024;
const readChunk = promisify(read) as unknown as (fd: number, buffer: Buffer) => Promise<{ bytesRead: number; buffer: Buffer }>;
const linksMax = 40;

export interface Owner {
  uid: number;
  gid: number;
}

export interface DeviceNode {
  type: 'char' | 'block';
  major: number;
  minor: number;
}

export interface RootDirOptions {
  /** May a file system of this type be entered where it is mounted below the root? Default: all but FUSE (lxcfs may). */
  mayEnter?: (type: string) => boolean;
}

export interface WriteOptions {
  /** Of a file that is made; an existing one keeps its own. Default 0o644. */
  mode?: number;
  /** Of a file that is made. Default: ourselves. */
  owner?: Owner;
  /** The file must not exist: conflict otherwise. */
  exclusive?: boolean;
  /** Writes go to the end; otherwise an existing file is emptied first. */
  append?: boolean;
  /** The existing content stays, and reading is possible too. */
  update?: boolean;
}

/** An open regular file. Whoever opened it closes it: `using`, or a stream that was made of it. */
export class OpenFile implements Disposable {
  #open = true;

  constructor(
    readonly fd: number,
    /** At opening. */
    readonly stats: Stats,
    /** False: it was there before. */
    readonly created: boolean,
  ) {}

  /** The stream closes the file. */
  readStream(range: { start?: number; end?: number } = {}): ReadStream {
    this.#open = false;
    return createReadStream('', { fd: this.fd, ...range });
  }

  /** The stream closes the file. */
  writeStream(): WriteStream {
    this.#open = false;
    return createWriteStream('', { fd: this.fd });
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

/**
 * A folder whose content somebody else controls: an instance's root, a volume, an unpacked image. Paths are the owner's: absolute or relative, they
 * start here, and neither `..` nor any symlink, changed while we look or not, leads out. Devices, FIFOs and sockets are never opened.
 *
 * Every method throws Fault: notFound, conflict (exists, not empty, busy), invalid (not a directory, name too long, loop …), forbidden, unsupported (leads
 * into a file system that may not be entered), internal. The name of the system error stays in `cause.code`.
 */
export class RootDir implements Disposable {
  readonly #options: ResolveOptions;

  private constructor(
    /** O_PATH; for *at calls and /proc/self/fd. */
    readonly fd: number,
    options: ResolveOptions,
  ) {
    this.#options = options;
  }

  /** @param path of the host, trusted; '/proc/PID/root' is the root of a running instance */
  static open(path: string, options: RootDirOptions = {}): RootDir {
    const fd = translating(path, () => check(libc.openat(-100, cString(path), O_PATH | O_DIRECTORY | O_CLOEXEC, 0), 'open', path));
    const pid = /^\/proc\/(\d+)\/root\/?$/.exec(path)?.[1];
    return new RootDir(fd, { pid: pid === undefined ? 'self' : Number(pid), mayEnter: options.mayEnter ?? mayEnterDefault });
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }

  /** A directory below as a root of its own. */
  enter(path: string): RootDir {
    const fd = this.#resolve(path, true);
    if (!fstatSync(fd).isDirectory()) {
      closeFd(fd);
      throw fault.invalid(`Not a directory: ${path}`);
    }
    return new RootDir(fd, this.#options);
  }

  /** @param follow default true, as stat; false: as lstat */
  stat(path: string, follow = true): Stats {
    return this.#with(path, follow, (fd) => fstatSync(fd));
  }

  exists(path: string): boolean {
    try {
      this.stat(path, false);
      return true;
    } catch (error) {
      if (error instanceof Fault && error.kind === 'notFound') return false;
      throw error;
    }
  }

  /** Opens a regular file for reading. */
  openFile(path: string): OpenFile {
    return this.#with(path, true, (fd) => this.#reopen(fd, path, O_RDONLY));
  }

  /** Opens a regular file for writing, and makes it if need be. */
  openForWriting(path: string, options: WriteOptions = {}): OpenFile {
    const flags = (options.update ? O_RDWR : O_WRONLY) | (options.append ? O_APPEND : 0);
    for (let tries = 0, at = path; tries < linksMax; tries++) {
      const made = this.#create(at, flags, options);
      if (made) return made;
      if (options.exclusive) throw fault.conflict(`File already exists: ${path}`);
      try {
        return this.#with(at, true, (fd) => {
          const file = this.#reopen(fd, path, flags);
          if (!options.append && !options.update) ftruncateSync(file.fd);
          return file;
        });
      } catch (error) {
        if (!(error instanceof Fault) || error.kind !== 'notFound') throw error;
      }
      // It exists and leads nowhere: a dangling link. As open(2) does, the file is made where it points.
      const target = this.readLink(at);
      at = target.startsWith('/') ? target : `${split(at).folder}/${target}`;
    }
    throw fault.invalid(`Too many levels of links: ${path}`);
  }

  /** The whole of a small file. @throws Fault tooLarge */
  async readFile(path: string, maxBytes: number): Promise<Buffer> {
    using file = this.openFile(path);
    const chunks: Buffer[] = [];
    let bytes = 0;
    // By what is read, not by its size: files of proc say 0, others grow meanwhile.
    while (bytes <= maxBytes) {
      const { bytesRead, buffer } = await readChunk(file.fd, Buffer.alloc(Math.min(maxBytes + 1 - bytes, chunkBytes))).catch((error: unknown) => {
        throw translate(path, error);
      });
      if (bytesRead === 0) return Buffer.concat(chunks);
      chunks.push(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
    }
    throw fault.tooLarge(`File is too large: ${path}`);
  }

  /** Names in a directory, without '.' and '..', unsorted. */
  async list(path: string): Promise<string[]> {
    const fd = this.#resolve(path, true);
    try {
      return await readdir(`/proc/self/fd/${fd}`);
    } catch (error) {
      throw translate(path, error);
    } finally {
      closeFd(fd);
    }
  }

  /** Mode as given: our umask does not touch it. */
  makeDirectory(path: string, mode = 0o755, owner?: Owner): void {
    this.#inParent(path, (parent, name) => {
      creating(parent, owner, () => check(libc.mkdirat(parent, name, mode & 0o777), 'mkdir', path));
      using made = new Held(check(libc.openat(parent, cString(name), O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC, 0), 'open', path));
      if (owner) check(libc.fchownat(made.fd, cString(''), owner.uid, owner.gid, AT_EMPTY_PATH), 'chown', path);
      chmodSync(`/proc/self/fd/${made.fd}`, mode);
    });
  }

  /** As `mkdir -p`: what exists stays as it is. */
  makeDirectories(path: string, mode = 0o755, owner?: Owner): void {
    let at = '';
    for (const name of path.split('/')) {
      if (name === '' || name === '.') continue;
      at += `/${name}`;
      if (name === '..') continue;
      try {
        this.makeDirectory(at, mode, owner);
      } catch (error) {
        if (!(error instanceof Fault) || error.kind !== 'conflict') throw error;
      }
    }
    if (!this.stat(at || '/').isDirectory()) throw fault.invalid(`Not a directory: ${path}`);
  }

  /** The target is stored as it is and never looked at. */
  makeSymlink(target: string, path: string, owner?: Owner): void {
    this.#inParent(path, (parent, name) => {
      creating(parent, owner, () => check(libc.symlinkat(target, parent, name), 'symlink', path));
      if (owner) check(libc.fchownat(parent, cString(name), owner.uid, owner.gid, 0x100), 'chown', path);
    });
  }

  /** Makes a device file, with the mode as given: our umask does not touch it. */
  makeDevice(path: string, device: DeviceNode, mode = 0o660, owner?: Owner): void {
    const { major, minor } = device;
    const number = (BigInt(major & ~0xfff) << 32n) | BigInt((major & 0xfff) << 8) | (BigInt(minor & ~0xff) << 12n) | BigInt(minor & 0xff);
    this.#inParent(path, (parent, name) => {
      creating(parent, owner, () => check(libc.mknodat(parent, name, device.type === 'char' ? S_IFCHR : S_IFBLK, number), 'mknod', path));
      using made = new Held(check(libc.openat(parent, cString(name), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), 'open', path));
      if (owner) check(libc.fchownat(made.fd, cString(''), owner.uid, owner.gid, AT_EMPTY_PATH), 'chown', path);
      chmodSync(`/proc/self/fd/${made.fd}`, mode);
    });
  }

  readLink(path: string): string {
    return this.#with(path, false, (fd) => {
      const out = new Uint8Array(4096);
      const length = check(libc.readlinkat(fd, '', out, out.length), 'readlink', path);
      return Buffer.from(out.buffer, 0, length).toString();
    });
  }

  /** Removes anything but a directory. */
  unlink(path: string): void {
    this.#inParent(path, (parent, name) => check(libc.unlinkat(parent, cString(name), 0), 'unlink', path));
  }

  /** Removes an empty directory. */
  removeDirectory(path: string): void {
    this.#inParent(path, (parent, name) => check(libc.unlinkat(parent, cString(name), AT_REMOVEDIR), 'rmdir', path));
  }

  /** Removes a path with all below it; nothing there is no error. Follows no link, crosses no mount (conflict), gives way to other work. */
  async removeTree(path: string): Promise<void> {
    const { folder, name } = split(path);
    let parent;
    try {
      parent = new Held(this.#resolve(folder, true));
    } catch (error) {
      if (error instanceof Fault && error.kind === 'notFound') return;
      throw error;
    }
    try {
      using held = parent;
      await removeIn(held.fd, Buffer.from(name), { since: performance.now() });
    } catch (error) {
      throw translate(path, error);
    }
  }

  /** Both paths below this root; an existing target is replaced, as rename(2) does, or is a conflict with `replace: false`. */
  rename(from: string, to: string, { replace = true }: { replace?: boolean } = {}): void {
    this.#inParent(from, (fromParent, fromName) =>
      this.#inParent(to, (toParent, toName) =>
        creating(toParent, undefined, () =>
          check(libc.renameat2(fromParent, fromName, toParent, toName, replace ? 0 : RENAME_NOREPLACE), 'rename', from),
        ),
      ),
    );
  }

  /** A second name for a file; a symlink is not followed. */
  link(from: string, to: string): void {
    this.#with(from, false, (fd) =>
      this.#inParent(to, (parent, name) =>
        creating(parent, undefined, () => check(libc.linkat(fd, cString(''), parent, name, AT_EMPTY_PATH), 'link', to)),
      ),
    );
  }

  /** @param follow default false: a link itself is changed */
  setOwner(path: string, owner: Owner, follow = false): void {
    this.#with(path, follow, (fd) => check(libc.fchownat(fd, cString(''), owner.uid, owner.gid, AT_EMPTY_PATH), 'chown', path));
  }

  /** Follows links: they have no mode of their own. */
  setMode(path: string, mode: number): void {
    this.#with(path, true, (fd) => chmodSync(`/proc/self/fd/${fd}`, mode));
  }

  setTimes(path: string, accessed: Date, modified: Date): void {
    this.#with(path, true, (fd) => utimesSync(`/proc/self/fd/${fd}`, accessed, modified));
  }

  #resolve(path: string, follow: boolean): number {
    if (path.includes('\0')) throw fault.invalid('Invalid path');
    return translating(path, () => resolveIn(this.fd, path, follow, this.#options));
  }

  #with<T>(path: string, follow: boolean, use: (fd: number) => T): T {
    using held = new Held(this.#resolve(path, follow));
    return translating(path, () => use(held.fd));
  }

  #inParent<T>(path: string, use: (parent: number, name: string) => T): T {
    const { folder, name } = split(path);
    return this.#with(folder, true, (parent) => translating(path, () => use(parent, name)));
  }

  /** Really opens what an O_PATH descriptor names. O_NONBLOCK: a lease that the owner holds must not make us wait. */
  #reopen(fd: number, path: string, flags: number): OpenFile {
    const stats = fstatSync(fd);
    if (stats.isDirectory()) throw fault.invalid(`Is a directory: ${path}`);
    if (!stats.isFile()) throw fault.invalid(`Not a regular file: ${path}`);
    const opened = check(libc.openat(-100, cString(`/proc/self/fd/${fd}`), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0), 'open', path);
    return new OpenFile(opened, stats, false);
  }

  /** A new file, or undefined if there is something of that name. */
  #create(path: string, flags: number, options: WriteOptions): OpenFile | undefined {
    return this.#inParent(path, (parent, name) => {
      let fd: number;
      try {
        const all = flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        fd = creating(parent, options.owner, () => checkRestarting(() => libc.openat(parent, cString(name), all, 0o600), 'open', path));
      } catch (error) {
        if (errorCode(error) === 'EEXIST') return undefined;
        throw error;
      }
      try {
        if (options.owner) fchownSync(fd, options.owner.uid, options.owner.gid);
        fchmodSync(fd, options.mode ?? 0o644);
        return new OpenFile(fd, fstatSync(fd), true);
      } catch (error) {
        closeFd(fd);
        throw error;
      }
    });
  }
}

/** Makes something in a directory; as its future owner, or else the directory's, where the file system knows no file of ours. */
function creating<T>(parent: number, owner: Owner | undefined, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (errorCode(error) !== 'EOVERFLOW') throw error;
    return withFileIds(owner ?? fstatSync(parent), make);
  }
}

/** A descriptor that is closed at the end of the block. */
class Held implements Disposable {
  constructor(readonly fd: number) {}

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

function split(path: string): { folder: string; name: string } {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  const name = names.pop();
  if (name === undefined || name === '..') throw fault.invalid(`Invalid path: ${path}`);
  return { folder: names.length === 0 ? '.' : names.join('/'), name };
}

async function removeIn(parent: number, name: Buffer, pace: { since: number }): Promise<void> {
  try {
    check(libc.unlinkat(parent, cString(name), 0), 'unlink');
    return;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    if (errorCode(error) !== 'EISDIR') throw error;
  }
  {
    using folder = new Held(openat2(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_NO_XDEV));
    for (const child of await readdir(`/proc/self/fd/${folder.fd}`, { encoding: 'buffer' })) {
      await removeIn(folder.fd, child, pace);
      if (performance.now() - pace.since < sliceMs) continue;
      await setImmediate();
      pace.since = performance.now();
    }
  }
  check(libc.unlinkat(parent, cString(name), AT_REMOVEDIR), 'rmdir');
}

function translating<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw translate(path, error);
  }
}

function translate(path: string, error: unknown): unknown {
  const options = { cause: error, detail: error instanceof Error ? error.message : undefined };
  switch (errorCode(error)) {
    case 'ENOENT':
      return fault.notFound(`File not found: ${path}`, options);
    case 'EEXIST':
      return fault.conflict(`File already exists: ${path}`, options);
    case 'ENOTEMPTY':
      return fault.conflict(`Directory is not empty: ${path}`, options);
    case 'EBUSY':
    case 'EXDEV':
      return fault.conflict(`File is in use: ${path}`, options);
    case 'EAGAIN':
      return fault.unavailable(`File is in use: ${path}`, options);
    case 'ENOTDIR':
      return fault.invalid(`Not a directory: ${path}`, options);
    case 'EISDIR':
      return fault.invalid(`Is a directory: ${path}`, options);
    case 'ELOOP':
      return fault.invalid(`Too many levels of links: ${path}`, options);
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return fault.invalid(`Invalid path: ${path}`, options);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return fault.forbidden(`Permission denied: ${path}`, options);
    case 'ENOSPC':
    case 'EDQUOT':
      return fault.unavailable(`No space left for ${path}`, options);
    case undefined:
      return error;
    default:
      return fault.internal(`Could not access ${path}`, options);
  }
}
