import { once } from 'node:events';
import { fchmodSync, fchownSync, fstatSync, fsync, ftruncateSync, futimesSync, read, type Stats, statfsSync, write } from 'node:fs';
import { posix } from 'node:path';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import type { OpenFile, RootDir } from '#host-kit';
import { Fault, fault } from '#kit';
import { longName, type Owner, readAttributes, type WantedAttributes, writeAttributes } from './attributes.js';
import { Handles } from './handles.js';
import { BadMessage, packetBytesMax, PacketReader, packetsOf, PacketWriter, replies, requests, statuses } from './packets.js';

/** Room for the head of a packet with data. */
const dataBytesMax = packetBytesMax - 1024;
/** Names of a directory in one reply: each is looked at, and other work waits meanwhile. */
const namesAtOnce = 64;
const version = 3;
const openFlags = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 };

const readAt = promisify(read) as unknown as (
  fd: number,
  buffer: Buffer,
  offset: number,
  length: number,
  at: number,
) => Promise<{ bytesRead: number }>;
const writeAt = promisify(write) as unknown as (
  fd: number,
  buffer: Buffer,
  offset: number,
  length: number,
  at: number,
) => Promise<{ bytesWritten: number }>;
const flush = promisify(fsync);

/** The files that are served: a root, and who owns them here and inside. */
export interface ServedFiles {
  root: RootDir;
  /** Of a file of this host, as it is seen inside. */
  inside(owner: Owner): Owner;
  /** Of an owner inside, on this host. @throws Fault invalid for one that is not the instance's */
  onHost(owner: Owner): Owner;
}

/**
 * Speaks SFTP with one client until it goes. Requests are done one after the other, in their order: at most one packet and its reply are held, and a
 * client that does not read is not read from. Resolves at the end, and never rejects for what a client did but BadMessage.
 */
export async function serveSftp(stream: Duplex, files: ServedFiles): Promise<void> {
  using session = new SftpSession(files);
  try {
    // A client that has said all is still told the rest.
    for await (const packet of packetsOf(stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)) {
      const reply = await session.answer(packet);
      if (!stream.write(reply)) await drained(stream);
    }
    stream.end();
  } finally {
    if (!stream.writableEnded) stream.destroy();
  }
}

async function drained(stream: Duplex): Promise<void> {
  if (stream.destroyed) return;
  const gone = new AbortController();
  await Promise.race([once(stream, 'drain', { signal: gone.signal }), once(stream, 'close', { signal: gone.signal })]).catch(() => {});
  gone.abort();
}

class SftpSession implements Disposable {
  readonly #handles = new Handles();
  #greeted = false;

  constructor(private readonly files: ServedFiles) {}

  [Symbol.dispose](): void {
    this.#handles[Symbol.dispose]();
  }

  /** @throws BadMessage: there is nothing to answer to */
  async answer(bytes: Buffer): Promise<Buffer> {
    const packet = new PacketReader(bytes);
    const type = packet.u8();
    if (!this.#greeted) {
      if (type !== requests.init) throw new BadMessage('The client did not greet');
      this.#greeted = true;
      const hello = new PacketWriter(replies.version).u32(version);
      for (const [name, revision] of extensions) hello.string(name).string(revision);
      return hello.finish();
    }
    const id = packet.u32();
    try {
      return ((await this.#do(type, id, packet)) ?? statusPacket(id, statuses.ok, 'Success')).finish();
    } catch (error) {
      return failure(id, error).finish();
    }
  }

  /** Undefined: done, and nothing else to say. */
  async #do(type: number, id: number, packet: PacketReader): Promise<PacketWriter | undefined> {
    const { root } = this.files;
    switch (type) {
      case requests.open:
        return this.#open(id, packet.text(), packet.u32(), readAttributes(packet));
      case requests.close:
        return void this.#handles.close(packet.text());
      case requests.read:
        return this.#read(id, this.#handles.file(packet.text()), packet.u64(), packet.u32());
      case requests.write:
        return this.#write(this.#handles.file(packet.text()), packet.u64(), packet.string());
      case requests.lstat:
        return this.#attributes(id, root.stat(packet.text(), false));
      case requests.stat:
        return this.#attributes(id, root.stat(packet.text()));
      case requests.fstat:
        return this.#attributes(id, this.#statOf(packet.text()));
      case requests.setstat:
        return this.#change(packet.text(), readAttributes(packet));
      case requests.fsetstat:
        return this.#changeOpen(packet.text(), readAttributes(packet));
      case requests.opendir:
        return this.#openDirectory(id, packet.text());
      case requests.readdir:
        return this.#readDirectory(id, packet.text());
      case requests.remove:
        return root.unlink(packet.text()) as undefined;
      case requests.mkdir:
        return this.#makeDirectory(packet.text(), readAttributes(packet));
      case requests.rmdir:
        return root.removeDirectory(packet.text()) as undefined;
      case requests.realpath:
        return named(id, posix.resolve('/', packet.text()));
      case requests.rename:
        return root.rename(packet.text(), packet.text(), { replace: false }) as undefined;
      case requests.readlink:
        return named(id, root.readLink(packet.text()));
      case requests.symlink:
        // OpenSSH has the two the other way round than the draft, and everybody follows it.
        return root.makeSymlink(packet.text(), packet.text(), this.#rootUser) as undefined;
      case requests.extended:
        return this.#extended(id, packet.text(), packet);
      default:
        throw fault.unsupported('Unknown request');
    }
  }

  #open(id: number, path: string, flags: number, { mode = 0o644 }: WantedAttributes): PacketWriter {
    this.#handles.checkRoom();
    return new PacketWriter(replies.handle, id).string(this.#handles.add({ kind: 'file', file: this.#openFile(path, flags, mode) }));
  }

  #openFile(path: string, flags: number, mode: number): OpenFile {
    const { root } = this.files;
    const wants = (...names: (keyof typeof openFlags)[]): boolean => names.some((name) => (flags & openFlags[name]) !== 0);
    if (!wants('write', 'append', 'create', 'truncate')) return root.openFile(path);
    // Nothing is made that was not asked for.
    if (!wants('create')) root.stat(path);
    const file = root.openForWriting(path, {
      mode,
      owner: this.#rootUser,
      exclusive: wants('create') && wants('exclusive'),
      append: wants('append'),
      update: true,
    });
    if (wants('truncate') && !file.created) ftruncateSync(file.fd);
    return file;
  }

  async #read(id: number, file: OpenFile, at: number, wanted: number): Promise<PacketWriter> {
    const buffer = Buffer.allocUnsafe(Math.min(wanted, dataBytesMax));
    const { bytesRead } = await readAt(file.fd, buffer, 0, buffer.length, at);
    if (bytesRead === 0 && wanted > 0) return statusPacket(id, statuses.eof, 'End of file');
    return new PacketWriter(replies.data, id).string(buffer.subarray(0, bytesRead));
  }

  async #write(file: OpenFile, at: number, bytes: Buffer): Promise<undefined> {
    for (let done = 0; done < bytes.length;) done += (await writeAt(file.fd, bytes, done, bytes.length - done, at + done)).bytesWritten;
  }

  #statOf(handle: string): Stats {
    const open = this.#handles.any(handle);
    return open.kind === 'file' ? fstatSync(open.file.fd) : this.files.root.stat(open.path);
  }

  #attributes(id: number, stats: Stats): PacketWriter {
    return writeAttributes(new PacketWriter(replies.attributes, id), stats, this.files.inside(stats));
  }

  /** The owner first: the kernel takes setuid away with it. */
  #change(path: string, { size, owner, mode, times }: WantedAttributes): undefined {
    const { root, onHost } = this.files;
    if (size !== undefined) {
      root.stat(path);
      using file = root.openForWriting(path, { update: true });
      ftruncateSync(file.fd, size);
    }
    if (owner) root.setOwner(path, onHost(owner), true);
    if (mode !== undefined) root.setMode(path, mode);
    if (times) root.setTimes(path, new Date(times.accessed * 1000), new Date(times.modified * 1000));
  }

  #changeOpen(handle: string, wanted: WantedAttributes): undefined {
    const open = this.#handles.any(handle);
    if (open.kind === 'directory') return this.#change(open.path, wanted);
    const { size, owner, mode, times } = wanted;
    const { fd } = open.file;
    if (size !== undefined) ftruncateSync(fd, size);
    if (owner) {
      const { uid, gid } = this.files.onHost(owner);
      fchownSync(fd, uid, gid);
    }
    if (mode !== undefined) fchmodSync(fd, mode);
    if (times) futimesSync(fd, times.accessed, times.modified);
  }

  async #openDirectory(id: number, path: string): Promise<PacketWriter> {
    this.#handles.checkRoom();
    const names = (await this.files.root.list(path)).sort();
    return new PacketWriter(replies.handle, id).string(this.#handles.add({ kind: 'directory', path, names }));
  }

  #readDirectory(id: number, handle: string): PacketWriter {
    const directory = this.#handles.directory(handle);
    const entries: { name: string; stats: Stats }[] = [];
    while (directory.names.length > 0 && entries.length === 0) {
      for (const name of directory.names.splice(0, namesAtOnce)) {
        const stats = this.#look(posix.join(directory.path, name));
        if (stats) entries.push({ name, stats });
      }
    }
    if (entries.length === 0) return statusPacket(id, statuses.eof, 'End of directory');
    const reply = new PacketWriter(replies.name, id).u32(entries.length);
    for (const { name, stats } of entries) {
      const owner = this.files.inside(stats);
      writeAttributes(reply.string(name).string(longName(name, stats, owner)), stats, owner);
    }
    return reply;
  }

  /** Undefined: gone since the directory was read, or behind what may not be entered. */
  #look(path: string): Stats | undefined {
    try {
      return this.files.root.stat(path, false);
    } catch (error) {
      if (error instanceof Fault) return undefined;
      throw error;
    }
  }

  #makeDirectory(path: string, { mode = 0o755 }: WantedAttributes): undefined {
    this.files.root.makeDirectory(path, mode, this.#rootUser);
  }

  async #extended(id: number, name: string, packet: PacketReader): Promise<PacketWriter | undefined> {
    const { root } = this.files;
    switch (name) {
      case 'posix-rename@openssh.com':
        return root.rename(packet.text(), packet.text()) as undefined;
      case 'hardlink@openssh.com':
        return root.link(packet.text(), packet.text()) as undefined;
      case 'fsync@openssh.com':
        return void (await flush(this.#handles.file(packet.text()).fd));
      case 'statvfs@openssh.com':
        return this.#room(id, packet.text());
      default:
        throw fault.unsupported('Unknown extension');
    }
  }

  #room(id: number, path: string): PacketWriter {
    const { root } = this.files;
    using directory = root.enter(root.stat(path).isDirectory() ? path : posix.dirname(path));
    const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(`/proc/self/fd/${directory.fd}`, { bigint: true });
    const reply = new PacketWriter(replies.extended, id);
    // Block and fragment size, blocks, files, then the file system's number, its flags and the longest name.
    for (const value of [bsize, bsize, blocks, bfree, bavail, files, ffree, ffree, 0n, 0n, 255n]) reply.u64(value);
    return reply;
  }

  /** Whoever may ask is root inside. */
  get #rootUser(): Owner {
    return this.files.onHost({ uid: 0, gid: 0 });
  }
}

const extensions = [
  ['posix-rename@openssh.com', '1'],
  ['hardlink@openssh.com', '1'],
  ['fsync@openssh.com', '1'],
  ['statvfs@openssh.com', '2'],
] as const;

function named(id: number, name: string): PacketWriter {
  // The draft wants attributes here too, and lets them be empty.
  return new PacketWriter(replies.name, id).u32(1).string(name).string(name).u32(0);
}

function statusPacket(id: number, code: number, message: string): PacketWriter {
  return new PacketWriter(replies.status, id).u32(code).string(message).string('');
}

function failure(id: number, error: unknown): PacketWriter {
  if (error instanceof BadMessage) return statusPacket(id, statuses.badMessage, error.message);
  const code = (error as NodeJS.ErrnoException).code;
  if (!(error instanceof Fault)) return statusPacket(id, statuses.failure, code ?? 'Failure');
  const byKind: Partial<Record<Fault['kind'], number>> = {
    notFound: statuses.noSuchFile,
    forbidden: statuses.permissionDenied,
    unsupported: statuses.unsupported,
  };
  return statusPacket(id, byKind[error.kind] ?? statuses.failure, error.message);
}
