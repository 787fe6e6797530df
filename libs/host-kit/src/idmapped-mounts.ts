import { closeSync, constants, openSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { fault } from '#kit';
import type { Idmap } from './idmap.js';
import { check, closeFd, errorCode, libc } from './libc.js';
import { requireProgram } from './programs.js';
import { spawn } from './spawn.js';

const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_mount_setattr = 442;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOUNT_ATTR_RDONLY = 0x1n;
const MOUNT_ATTR_IDMAP = 0x100000n;
const O_CLOEXEC = 0o2000000;

/** A user namespace that nobody lives in: it only carries an idmap, for mounts. */
export class UserNamespace implements Disposable {
  private constructor(
    /** For mount_setattr; shows as a namespace file. */
    readonly fd: number,
  ) {}

  /** @throws Fault internal: the kernel refuses the map; unsupported: no `unshare` */
  static async create(idmap: Idmap): Promise<UserNamespace> {
    const holder = spawn({ path: requireProgram('unshare'), args: ['--user', 'sleep', '60'] });
    try {
      const file = `/proc/${holder.pid}/ns/user`;
      const ours = readlinkSync('/proc/self/ns/user');
      for (let tries = 0; readlinkSync(file) === ours; tries++) {
        if (tries > 1000 || holder.ending) throw fault.internal('Could not make a user namespace');
        await setTimeout(2);
      }
      const lines = (kind: 'isUid' | 'isGid'): string =>
        idmap
          .filter((entry) => entry[kind])
          .map((e) => `${e.nsId} ${e.hostId} ${e.range}\n`)
          .join('');
      writeFileSync(`/proc/${holder.pid}/uid_map`, lines('isUid'));
      writeFileSync(`/proc/${holder.pid}/gid_map`, lines('isGid'));
      return new UserNamespace(openSync(file, constants.O_RDONLY));
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      throw fault.internal('Could not make a user namespace', { cause: error, detail: (error as Error).message });
    } finally {
      holder.kill('SIGKILL');
    }
  }

  /** The namespace of a running process (a container's init), to map its mounts as it is mapped. */
  static of(pid: number): UserNamespace {
    return new UserNamespace(openSync(`/proc/${pid}/ns/user`, constants.O_RDONLY));
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

export interface IdmappedBindOptions {
  recursive?: boolean;
  readonly?: boolean;
}

/**
 * Shows a folder at another place with its owners mapped: id 0 on the disk is the container's root there.
 * @throws SystemError EINVAL: the file system cannot do it (overlay, some network ones), or a mount below it with `recursive`
 */
export function bindIdmapped(source: string, target: string, namespace: UserNamespace, options: IdmappedBindOptions = {}): void {
  const tree = mappedTree(source, namespace, options);
  try {
    check(libc.moveMount(SYS_move_mount, tree, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH), 'move_mount', target);
  } finally {
    closeFd(tree);
  }
}

/** Can the file system that holds a folder be mounted idmapped? Tries on a copy of the mount that nobody sees. */
export function supportsIdmappedMounts(path: string, namespace: UserNamespace): boolean {
  try {
    closeFd(mappedTree(path, namespace, {}));
    return true;
  } catch (error) {
    if (['EINVAL', 'ENOSYS', 'EPERM', 'EOPNOTSUPP', 'ENOTSUP'].includes(errorCode(error) ?? '')) return false;
    throw error;
  }
}

function mappedTree(source: string, namespace: UserNamespace, { recursive, readonly }: IdmappedBindOptions): number {
  const all = recursive ? AT_RECURSIVE : 0;
  const tree = check(libc.openTree(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | all), 'open_tree', source);
  try {
    const attributes = new BigUint64Array([MOUNT_ATTR_IDMAP | (readonly ? MOUNT_ATTR_RDONLY : 0n), 0n, 0n, BigInt(namespace.fd)]);
    const bytes = new Uint8Array(attributes.buffer);
    check(libc.mountSetattr(SYS_mount_setattr, tree, '', AT_EMPTY_PATH | all, bytes, bytes.length), 'mount_setattr', source);
    return tree;
  } catch (error) {
    closeFd(tree);
    throw error;
  }
}
