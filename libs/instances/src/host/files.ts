import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import { join, posix } from 'node:path';
import { errorCode, fromHost, RootDir, toHost, type Idmap, type Owner } from '#host-kit';
import { Fault, fault } from '#kit';
import type { CallContext, FileReply } from '#members';
import { isRunning } from '../model/index.js';
import { rootVolume, type InstanceRecord } from '../state/index.js';
import type { InstancePower } from './power.js';
import type { InstanceTools } from './tools.js';

const targetMaxBytes = 4096;
/** Who owns what has no owner inside. */
const nobody = 65_534;

export interface FileWrite {
  type: string;
  append: boolean;
  uid?: number;
  gid?: number;
  mode?: number;
  body: Readable;
}

/** An instance's root, open; and which ids its files have here. */
export interface OpenRoot extends AsyncDisposable {
  root: RootDir;
  inside(owner: Owner): Owner;
  /** @throws Fault invalid for an owner that the container does not have */
  onHost(owner: Owner): Owner;
}

/** Files inside this member's instances, running or not. */
export class InstanceFiles {
  constructor(
    private readonly tools: InstanceTools,
    private readonly power: InstancePower,
  ) {}

  async stat(record: InstanceRecord, path: string): Promise<FileReply> {
    await using open = await this.open(record);
    return describe(open, path);
  }

  /** A file's bytes come as a ticket: the caller opens it. */
  async read(record: InstanceRecord, path: string, by: CallContext): Promise<FileReply> {
    const open = await this.open(record);
    let handedOver = false;
    try {
      const reply = describe(open, path);
      if (reply.type === 'directory') reply.names = (await open.root.list(path)).sort();
      else if (reply.type === 'symlink') {
        const target = open.root.readLink(path);
        reply.target = posix.normalize(target.startsWith('/') ? target : posix.join(posix.dirname(path), target));
      } else {
        const file = open.root.openFile(path);
        reply.size = file.stats.size;
        // What grows meanwhile is not sent: the length has been promised.
        const stream = file.readStream(file.stats.size > 0 ? { end: file.stats.size - 1 } : {});
        stream.once('close', () => void open[Symbol.asyncDispose]());
        reply.ticket = this.tools.context.members.streams.offer(stream);
        handedOver = true;
      }
      this.tools.tell(record, 'instance-file-retrieved', by, { path });
      return reply;
    } finally {
      if (!handedOver) await open[Symbol.asyncDispose]();
    }
  }

  /** Owner and mode are those asked for where something is made; what exists keeps its own. @throws Fault */
  async write(record: InstanceRecord, path: string, write: FileWrite, by: CallContext): Promise<void> {
    await using open = await this.open(record);
    const { root } = open;
    // Root's, where nobody is named.
    const owner = open.onHost({ uid: write.uid ?? 0, gid: write.gid ?? 0 });
    if (write.type === 'directory') {
      write.body.resume();
      if (followed(root, path)) return;
      root.makeDirectory(path, write.mode ?? 0o750, owner);
    } else if (write.type === 'symlink') {
      const target = await text(write.body);
      if (target === '' || Buffer.byteLength(target) > targetMaxBytes || target.includes('\0')) throw fault.invalid('Invalid target of a symlink');
      if (linkTarget(root, path) === target) return;
      root.makeSymlink(target, path, owner);
    } else if (write.type === 'file') {
      if (write.append && !followed(root, path)) throw fault.notFound('Not Found');
      const file = root.openForWriting(path, { append: write.append, mode: write.mode ?? 0o644, owner });
      await pipeline(write.body, file.writeStream()).catch((error: unknown) => {
        throw full(error, path) ?? error;
      });
    } else throw fault.invalid(`Bad file type: ${write.type}`);
    this.tools.tell(record, 'instance-file-pushed', by, { path });
  }

  async remove(record: InstanceRecord, path: string, by: CallContext): Promise<void> {
    await using open = await this.open(record);
    if (open.root.stat(path, false).isDirectory()) open.root.removeDirectory(path);
    else open.root.unlink(path);
    this.tools.tell(record, 'instance-file-deleted', by, { path });
  }

  /** Its files as they are now; of no use any more when it starts or ends. @throws Fault */
  async open(record: InstanceRecord): Promise<OpenRoot> {
    const { state, pid } = await this.power.power(record);
    const { idmaps, ports } = this.tools;
    if (isRunning(state) && pid > 0) {
      const root = RootDir.open(`/proc/${pid}/root`);
      return { root, ...owners(idmaps.current(record)), [Symbol.asyncDispose]: async () => root[Symbol.dispose]() };
    }
    const volume = await ports.storage.mount(rootVolume(record));
    try {
      const root = RootDir.open(join(volume.path, 'rootfs'));
      const close = async (): Promise<void> => {
        root[Symbol.dispose]();
        await volume[Symbol.asyncDispose]();
      };
      return { root, ...owners(idmaps.onDisk(record)), [Symbol.asyncDispose]: close };
    } catch (error) {
      await volume[Symbol.asyncDispose]();
      throw error;
    }
  }
}

function describe({ root, inside }: OpenRoot, path: string): FileReply {
  const stats = root.stat(path, false);
  const type = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'symlink' : 'file';
  return {
    type,
    ...inside(stats),
    mode: stats.mode & 0o7777,
    modified: stats.mtime.toISOString(),
    size: stats.size,
    ticket: '',
    names: [],
    target: '',
  };
}

const identity: Idmap = [{ isUid: true, isGid: true, hostId: 0, nsId: 0, range: 0xffff_ffff }];

function owners(map: Idmap): Pick<OpenRoot, 'inside' | 'onHost'> {
  const idmap = map.length > 0 ? map : identity;
  return {
    inside: ({ uid, gid }) => ({ uid: fromHost(idmap, 'uid', uid) ?? nobody, gid: fromHost(idmap, 'gid', gid) ?? nobody }),
    onHost: (owner) => {
      const [uid, gid] = [toHost(idmap, 'uid', owner.uid), toHost(idmap, 'gid', owner.gid)];
      if (uid === undefined || gid === undefined) throw fault.invalid('The owner is not one of the instance');
      return { uid, gid };
    },
  };
}

function followed(root: RootDir, path: string): boolean {
  try {
    root.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Fault && error.kind === 'notFound') return false;
    throw error;
  }
}

function linkTarget(root: RootDir, path: string): string | undefined {
  try {
    return root.readLink(path);
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

const full = (error: unknown, path: string): Fault | undefined =>
  ['ENOSPC', 'EDQUOT'].includes(errorCode(error) ?? '') ? fault.unavailable(`No space left for ${path}`, { cause: error }) : undefined;
