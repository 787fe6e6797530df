import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isTrue } from '#config-keys';
import { detach as detachMount, listMounts, mountAt, mountFilesystem, supportsIdmappedMounts, UserNamespace } from '#host-kit';
import { fault, parseSize, Undo } from '#kit';
import type { HostContext } from '#members';
import { effectiveProject } from '#projects/state';
import type { MountedVolume, StorageHost } from '#storage/host';
import type { VolumeRef } from '#storage/model';
import { volume as volumeRow } from '#storage/state';
import { deviceKeys, liveKeysOf } from '../../model/index.js';
import type { Device, DeviceDriver, DeviceOwner, PreparedDevice } from '../device-driver.js';
import { encodePath, fstabWord, relativePath } from './encode.js';
import { mountInto, rootOwner, unmountFrom } from './inject.js';
import { setThrottle } from './limits.js';

/** Something of the host that is to appear in an instance. */
interface Source {
  path: string;
  file: boolean;
  /** Owners are mapped as the container's are. */
  idmapped: boolean;
}

const isRoot = (device: Device): boolean => device['path'] === '/';
const isRequired = (device: Device): boolean => isTrue(device['required'], true) && !isTrue(device['optional']);

/**
 * Disks: paths of the host, volumes of a pool, and the quota of the root disk (whose mount is the instance's own affair). A path of the host is mounted
 * from where it lies, so that the container's monitor finds it again at a reboot.
 */
export class DiskDriver implements DeviceDriver {
  readonly liveKeys = liveKeysOf(deviceKeys.disk);
  /** Volumes that running instances hold, by instance and device. */
  readonly #held = new Map<string, MountedVolume>();

  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
  ) {}

  async prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice> {
    const afterStart = (): Promise<void> => this.#throttle(owner, name, device);
    if (isRoot(device)) return { lxc: [], afterStart };
    const source = await this.#open(owner, name, device);
    if (!source) return { lxc: [] };
    const options = [isTrue(device['recursive']) ? 'rbind' : 'bind'];
    if (isTrue(device['readonly'])) options.push('ro');
    if (device['propagation']) options.push(device['propagation']);
    options.push(source.file ? 'create=file' : 'create=dir');
    if (source.idmapped) options.push('idmap=container');
    const entry = `${fstabWord(source.path)} ${fstabWord(relativePath(device['path']!))} none ${options.join(',')} 0 0`;
    return { lxc: [['lxc.mount.entry', entry]], afterStart };
  }

  async attach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    if (isRoot(device)) throw fault.invalid('Root disks cannot be added to a running instance');
    if (device['propagation'] && device['propagation'] !== 'private')
      throw fault.unsupported('A disk with "propagation" can only be added to a stopped instance');
    await using undo = new Undo(this.context.log);
    undo.add('source', () => this.#close(owner, name, device));
    const source = await this.#open(owner, name, device);
    if (!source) return undo.drop();
    await mountInto(owner.pid!, source.path, relativePath(device['path']!), {
      file: source.file,
      recursive: isTrue(device['recursive']),
      readonly: isTrue(device['readonly']),
      idmapped: source.idmapped,
      owner: rootOwner(owner),
    });
    undo.add('mount', () => unmountFrom(owner.pid!, relativePath(device['path']!)));
    await this.#throttle(owner, name, device);
    undo.drop();
  }

  async detach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    if (isRoot(device)) return;
    if (owner.pid !== undefined) await unmountFrom(owner.pid, relativePath(device['path']!));
    await this.#close(owner, name, device);
  }

  async update(owner: DeviceOwner, name: string, before: Device, after: Device): Promise<void> {
    if (isRoot(after) && (before['size'] ?? '') !== (after['size'] ?? ''))
      await this.storage.setQuota(rootVolume(owner, after), parseSize(after['size'] ?? ''));
    if (owner.pid !== undefined) await this.#throttle(owner, name, after, before);
  }

  async resume(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    if (!isRoot(device) && device['pool']) await this.#volume(owner, name, device);
  }

  /** Makes the source ready. Undefined when it is missing and need not be there. */
  async #open(owner: DeviceOwner, name: string, device: Device): Promise<Source | undefined> {
    try {
      return device['pool'] ? await this.#volume(owner, name, device) : await this.#hostPath(owner, name, device);
    } catch (error) {
      if (isRequired(device)) throw error;
      this.context.log.warn({ err: error, instance: owner.name, device: name }, 'leaving out a disk that is not required');
      return undefined;
    }
  }

  async #hostPath(owner: DeviceOwner, name: string, device: Device): Promise<Source> {
    const path = device['source']!;
    const found = await stat(path).catch((cause: unknown) => {
      throw fault.invalid(`Missing source path "${path}" for disk "${name}"`, { cause });
    });
    if (found.isBlockDevice()) return this.#blockDevice(owner, name, device);
    const idmapped = isTrue(device['shift']) && owner.idmap !== undefined;
    if (idmapped) await this.#checkShift(owner, path, name);
    return { path, file: !found.isDirectory(), idmapped };
  }

  /** A file system on a block device is mounted on the host, below the instance's devices: the container may not. */
  async #blockDevice(owner: DeviceOwner, name: string, device: Device): Promise<Source> {
    const path = this.#devicePath(owner, name, device);
    mkdirSync(path, { recursive: true, mode: 0o711 });
    if (!mountAt(path)) {
      const options = (device['raw.mount.options'] ?? '').split(',').filter(Boolean);
      if (isTrue(device['readonly'])) options.push('ro');
      await mountFilesystem(device['source']!, path, { options });
    }
    const idmapped = isTrue(device['shift']) && owner.idmap !== undefined;
    if (idmapped) await this.#checkShift(owner, path, name);
    return { path, file: false, idmapped };
  }

  async #volume(owner: DeviceOwner, name: string, device: Device): Promise<Source> {
    const { reader } = this.context.replica;
    const project = effectiveProject(reader, owner.project, 'features.storage.volumes');
    const ref: VolumeRef = { pool: device['pool']!, project, type: 'custom', name: device['source']! };
    const row = volumeRow(reader, ref, this.context.server.memberId);
    if (row.contentType === 'block') throw fault.invalid('Custom block volumes cannot be used on containers');
    const key = `${owner.id}/${name}`;
    const held = this.#held.get(key);
    const mounted = held ?? (await this.storage.mount(ref));
    try {
      const idmapped = await this.#mapVolume(owner, ref, row.config, mounted.path);
      this.#held.set(key, mounted);
      return { path: mounted.path, file: false, idmapped };
    } catch (error) {
      if (!held) await mounted[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * As LXD: ids on disk are those of the container's map, and containers of other maps may not share the volume; unless it is shifted: then they are as in
   * the container, and each sees them through its own map. @returns whether the mount is to be mapped
   */
  async #mapVolume(owner: DeviceOwner, ref: VolumeRef, config: Readonly<Record<string, string>>, path: string): Promise<boolean> {
    if (isTrue(config['security.unmapped'])) return false;
    const shifted = isTrue(config['security.shifted']);
    await this.storage.remap(ref, shifted ? [] : (owner.idmap ?? []));
    if (!shifted || owner.idmap === undefined) return false;
    if (!(await this.#canShift(owner, path))) throw fault.unsupported('Required idmapping abilities not available');
    return true;
  }

  async #checkShift(owner: DeviceOwner, path: string, name: string): Promise<void> {
    if (!(await this.#canShift(owner, path))) throw fault.unsupported(`The file system of disk "${name}" cannot map owners ("shift")`);
  }

  async #canShift(owner: DeviceOwner, path: string): Promise<boolean> {
    using namespace = owner.pid === undefined ? await UserNamespace.create(owner.idmap!) : UserNamespace.of(owner.pid);
    return supportsIdmappedMounts(path, namespace);
  }

  /** What `#open` made ready; safe to repeat. */
  async #close(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const key = `${owner.id}/${name}`;
    const mounted = this.#held.get(key);
    this.#held.delete(key);
    await mounted?.[Symbol.asyncDispose]();
    const path = this.#devicePath(owner, name, device);
    if (!existsSync(path)) return;
    if (mountAt(path, listMounts())) detachMount(path);
    rmdirSync(path);
  }

  #devicePath(owner: DeviceOwner, name: string, device: Device): string {
    return join(owner.devicesDir, encodePath(`disk.${name}.${relativePath(device['path'] ?? '')}`));
  }

  async #throttle(owner: DeviceOwner, name: string, device: Device, before?: Device): Promise<void> {
    const cgroup = `lxc.payload.${this.context.naming.lxc(owner.project, owner.name)}`;
    const path = isRoot(device)
      ? this.storage.instanceLink(rootVolume(owner, device))
      : (this.#held.get(`${owner.id}/${name}`)?.path ?? device['source']!);
    await setThrottle(cgroup, path, device, before, this.context.log);
  }
}

const rootVolume = (owner: DeviceOwner, device: Device): VolumeRef => ({
  pool: device['pool']!,
  project: owner.project,
  type: owner.type,
  name: owner.name,
});
