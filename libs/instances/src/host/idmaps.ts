import { chown, statfs } from 'node:fs/promises';
import { isTrue } from '#config-keys';
import {
  chooseIdmap,
  hostIds,
  idmapFromJson,
  idmapToJson,
  sameIdmap,
  shiftTree,
  supportsIdmappedMounts,
  toHost,
  UserNamespace,
  type HostIds,
  type Idmap,
} from '#host-kit';
import { fault, KeyedLocks } from '#kit';
import type { HostContext } from '#members';
import { instances, type InstanceRecord } from '../state/index.js';

type Config = Readonly<Record<string, string>>;

/** volatile.idmap.* of an instance that is new, or whose idmap keys changed. */
export interface ChosenIdmap {
  'volatile.idmap.next': string;
  'volatile.idmap.base': string;
}

/** How the files of a container are to be seen at its start. */
export interface DiskIdmap {
  /** The kernel maps owners at the mount. */
  mapped: boolean;
  /** The map that the files have on disk now, for volatile.last_state.idmap. */
  onDisk: Idmap;
}

/** Id maps of this member's containers. */
export class Idmaps {
  /** Choosing and recording is one step, so that two containers never get one range. */
  readonly #choosing = new KeyedLocks();
  readonly #mappable = new Map<string, boolean>();

  constructor(private readonly context: HostContext) {}

  /** Runs `record` with the keys for a config while nobody else chooses. */
  choosing<T>(config: Config, id: number | undefined, record: (keys: ChosenIdmap) => Promise<T>): Promise<T> {
    return this.#choosing.hold(['idmap'], () => record(this.#choose(config, id)));
  }

  #choose(config: Config, id: number | undefined): ChosenIdmap {
    if (isTrue(config['security.privileged'])) return { 'volatile.idmap.next': '[]', 'volatile.idmap.base': '0' };
    const host = hostRange();
    const size = Number(config['security.idmap.size'] || 0) || undefined;
    const base = config['security.idmap.base'] ? Number(config['security.idmap.base']) : undefined;
    const isolated = isTrue(config['security.idmap.isolated']);
    const chosen = chooseIdmap(host, { isolated, size, base, raw: config['raw.idmap'], others: isolated ? this.#others(id) : [] });
    return { 'volatile.idmap.next': idmapToJson(chosen.idmap), 'volatile.idmap.base': String(chosen.base) };
  }

  #others(id: number | undefined): HostIds[] {
    return instances(this.context.replica.reader, { memberId: this.context.server.memberId, type: 'container' })
      .filter(
        (other) => other.id !== id && isTrue(other.expandedConfig['security.idmap.isolated']) && !isTrue(other.expandedConfig['security.privileged']),
      )
      .map(({ expandedConfig: config }) => ({
        base: Number(config['volatile.idmap.base'] ?? 0),
        size: Number(config['security.idmap.size'] || 65_536),
      }));
  }

  /** The map of the next start. */
  next(record: InstanceRecord): Idmap {
    return idmapFromJson(record.config['volatile.idmap.next'] ?? '');
  }

  /** The map that the running container has; what is on disk otherwise. */
  current(record: InstanceRecord): Idmap {
    return idmapFromJson(record.config['volatile.idmap.current'] ?? '');
  }

  onDisk(record: InstanceRecord): Idmap {
    return idmapFromJson(record.config['volatile.last_state.idmap'] ?? '');
  }

  /**
   * Makes the files of a container fit its next map: by nothing but a mapped mount where the file system can, else by changing their owners.
   * @throws Fault conflict when they are protected against that
   */
  async prepare(record: InstanceRecord, rootfs: string, progress: (text: string) => void, signal?: AbortSignal): Promise<DiskIdmap> {
    const next = this.next(record);
    const disk = this.onDisk(record);
    if (sameIdmap(next, disk)) return { mapped: false, onDisk: disk };
    const mappable = next.length > 0 && (await this.#canMap(rootfs, next));
    if (disk.length === 0 && mappable) return { mapped: true, onDisk: [] };
    if (isTrue(record.expandedConfig['security.protection.shift'])) throw fault.conflict('Container is protected against filesystem shifting');
    progress('Remapping container filesystem');
    const wanted = mappable ? [] : next;
    await shiftTree(rootfs, disk, wanted, { signal });
    progress('');
    return { mapped: mappable, onDisk: wanted };
  }

  /** Asked once for each file system. */
  async #canMap(path: string, idmap: Idmap): Promise<boolean> {
    // LXD's switch, for file systems that say they can and cannot, and for tests.
    if (isTrue(process.env.LXD_IDMAPPED_MOUNTS_DISABLE)) return false;
    const { type, files, blocks } = await statfs(path, { bigint: true });
    const key = `${type}/${files}/${blocks}`;
    const known = this.#mappable.get(key);
    if (known !== undefined) return known;
    using namespace = await UserNamespace.create(idmap);
    const can = supportsIdmappedMounts(path, namespace);
    this.#mappable.set(key, can);
    return can;
  }
}

/** Root of the container may pass through the directory above its root, and nobody else. */
export async function giveToRoot(directory: string, idmap: Idmap): Promise<void> {
  await chown(directory, toHost(idmap, 'uid', 0) ?? 0, 0);
}

function hostRange(): HostIds {
  const range = hostIds();
  if (!range) throw fault.unsupported("LXD doesn't have a uid/gid allocation. In this mode, only privileged containers are supported");
  // LXD takes the two apart; containers whose uids and gids differ would be the only users of that.
  return { base: range.uid.base, size: Math.min(range.uid.size, range.gid.size) };
}
