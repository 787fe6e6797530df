import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { type ConfigMap, type DevicesMap, type InstancePut, type InstanceType } from '#api-contract';
import { isTrue } from '#config-keys';
import { missingNicKeys, staleVolatileKeys } from '#devices/model';
import { removeTree } from './remove-tree.js';
import { Undo, fault } from '#kit';
import type { CallContext } from '#members';
import { expand } from '#profiles/model';
import type { VolumeSource } from '#storage/host';
import { findVolume } from '#storage/state';
import { checkInstanceName, checkUnprivileged, isRootDisk, isRunning } from '../model/index.js';
import * as state from '../state/index.js';
import type { InstanceRecord } from '../state/index.js';
import type { GuestSockets } from './guest/guest-sockets.js';
import type { InstanceIntents } from './intents.js';
import type { OwnedDevices } from './owned-devices.js';
import type { InstancePower } from './power.js';
import type { InstanceTools } from './tools.js';

/** A new instance, its image and profiles chosen. */
export interface Creation {
  project: string;
  name: string;
  type: InstanceType;
  architecture: string;
  description: string;
  ephemeral: boolean;
  config: ConfigMap;
  devices: DevicesMap;
  profiles: readonly string[];
  /** What its volume begins with. */
  source: VolumeSource;
  /** Templates of which occasion its first start writes. */
  template?: 'create' | 'copy';
  snapshots?: readonly state.NewSnapshotRow[];
  volume?: state.VolumeWords;
}

const idmapKeys = ['security.idmap.isolated', 'security.idmap.base', 'security.idmap.size', 'raw.idmap', 'security.privileged'];

/** Makes, changes, renames and removes this member's instances; each is whole or undone, whenever the daemon dies. */
export class InstanceLifecycle {
  constructor(
    private readonly tools: InstanceTools,
    private readonly devices: OwnedDevices,
    private readonly power: InstancePower,
    private readonly intents: InstanceIntents,
    private readonly guests: GuestSockets,
  ) {
    power.removeEphemeral = (record) => this.#remove(record, { identity: { protocol: 'internal', username: '', address: '' }, requestId: '' });
  }

  /** @throws Fault; then nothing of it is left */
  async create(wanted: Creation, by: CallContext, signal?: AbortSignal): Promise<InstanceRecord> {
    const { writer, ports, context, log, locks, idmaps } = this.tools;
    if (ports.unprivilegedOnly) checkUnprivileged(this.#expandedConfig(wanted));
    await using undo = new Undo(log);
    const payload = this.#newInstance(wanted);
    // The intent goes last of all, whether it went well or not.
    const intent = this.intents.begin({ kind: 'create', project: wanted.project, name: wanted.name, uuid: payload.config['volatile.uuid']! });
    undo.add('intent', () => this.intents.settle(intent));
    const id = await idmaps.choosing(this.#expandedConfig(wanted), undefined, async (keys) => {
      const config = { ...payload.config, ...keys };
      return (await writer.submit(state.createInstance, { ...payload, config, memberId: context.server.memberId }, by)).id;
    });
    undo.add('record', () => writer.submit(state.forgetInstance, { id }, by));
    using _held = await locks.take(id, 'create');
    const record = this.tools.again({ id });
    const volume = state.rootVolume(record);
    const { config } = findVolume(this.tools.reader, volume, record.memberId) ?? { config: {} };
    undo.add('volume', () => ports.storage.remove(volume));
    await ports.storage.create(volume, sizedConfig(config, record), wanted.source, { ...by, signal });
    undo.add('devices', () => this.devices.removed(record));
    await this.devices.added(record);
    // Logs of an earlier instance of this name are not ours.
    await removeTree(this.tools.paths.logs(record));
    undo.drop();
    this.intents.settle(intent);
    return record;
  }

  #newInstance(wanted: Creation): Omit<state.NewInstance, 'memberId'> {
    const { source: _source, template, ...fields } = wanted;
    const { reader, ports } = this.tools;
    const expanded = this.#expanded(wanted);
    const around = state.surroundings(reader, wanted.project, wanted.type);
    return {
      ...fields,
      config: {
        ...wanted.config,
        'volatile.uuid': wanted.config['volatile.uuid'] ?? randomUUID(),
        'volatile.cloud-init.instance-id': wanted.config['volatile.cloud-init.instance-id'] ?? randomUUID(),
        'volatile.last_state.idmap': wanted.config['volatile.last_state.idmap'] ?? '[]',
        'volatile.apply_template': template ?? '',
        ...missingNicKeys(expanded.devices, expanded.config, around, ports.randomMac),
      },
    };
  }

  #expanded({ project, config, devices, profiles }: Pick<Creation, 'project' | 'config' | 'devices' | 'profiles'>): {
    config: ConfigMap;
    devices: DevicesMap;
  } {
    return expand(state.profilesFor(this.tools.reader, project, profiles), config, devices);
  }

  #expandedConfig(wanted: Creation): ConfigMap {
    return this.#expanded(wanted).config;
  }

  /** PUT and PATCH: recorded, and where it runs, made true at once as far as that goes. @throws Fault; then all is as it was */
  async update(
    before: InstanceRecord,
    put: Omit<InstancePut, 'restore' | 'stateful'>,
    by: CallContext,
    options: { ifMatch?: string; byUser: boolean },
  ): Promise<void> {
    const { locks, writer, ports, reader, idmaps, log } = this.tools;
    using _held = await locks.take(before.id, 'update');
    await using undo = new Undo(log);
    const { project, name } = before;
    const wanted = { ...put, architecture: put.architecture || before.architecture };
    const expanded = this.#expanded({ project, ...wanted });
    if (ports.unprivilegedOnly) checkUnprivileged(expanded.config);
    const around = state.surroundings(reader, project, before.type);
    const stale = new Set(staleVolatileKeys(before.expandedDevices, expanded.devices, wanted.config, around));
    const without = (config: ConfigMap): ConfigMap => Object.fromEntries(Object.entries(config).filter(([key]) => !stale.has(key)));
    const nicKeys = missingNicKeys(expanded.devices, without(expanded.config), around, ports.randomMac);
    const cloudKeys: ConfigMap = needsNewInstanceId(before, expanded) ? { 'volatile.cloud-init.instance-id': randomUUID() } : {};
    const write = async (keys: ConfigMap): Promise<void> => {
      const config = { ...without(wanted.config), ...nicKeys, ...cloudKeys, ...keys };
      await writer.submit(state.updateInstance, { project, name, put: { ...wanted, config }, ...options }, by);
    };
    if (expanded.config['raw.lxc'] && expanded.config['raw.lxc'] !== before.expandedConfig['raw.lxc'])
      await this.tools.driver(before).check(expanded.config);
    const newIdmap = idmapKeys.some((key) => (before.expandedConfig[key] ?? '') !== (expanded.config[key] ?? ''));
    if (newIdmap) await idmaps.choosing(expanded.config, before.id, (keys) => write({ ...keys }));
    else await write({});
    undo.add('record', () => writer.submit(state.updateInstance, { project, name, put: before, byUser: false }, by));
    await this.follow(before, this.tools.again(before), by);
    undo.drop();
  }

  /** What is recorded has changed (by itself or through a profile): devices and limits follow, the running instance with them. @throws Fault */
  async follow(before: InstanceRecord, after: InstanceRecord, by: CallContext): Promise<void> {
    const { state: now, pid } = await this.power.power(after);
    const runs = isRunning(now);
    await this.devices.change(before, after, runs ? pid : 0, by);
    if (!runs) return;
    await this.#followLimits(before, after);
    await this.guests.show(before, after, pid);
    this.guests.tell(before, after, this.devices.changes(before.expandedDevices, after.expandedDevices));
  }

  async #followLimits(before: InstanceRecord, after: InstanceRecord): Promise<void> {
    const changed = [...new Set([...Object.keys(before.expandedConfig), ...Object.keys(after.expandedConfig)])].filter(
      (key) => key.startsWith('limits.') && (before.expandedConfig[key] ?? '') !== (after.expandedConfig[key] ?? ''),
    );
    if (changed.length === 0) return;
    if (changed.some((key) => key !== 'limits.cpu')) await this.tools.driver(after).limit(this.tools.paths.key(after), after.expandedConfig);
    if (changed.includes('limits.cpu')) this.power.changed();
  }

  /** As follow, under a lock of its own: a profile has changed. */
  async followProfile(before: InstanceRecord, after: InstanceRecord, by: CallContext): Promise<void> {
    using _held = await this.tools.locks.take(after.id, 'update');
    const { reader, ports, writer } = this.tools;
    const added = missingNicKeys(after.expandedDevices, after.expandedConfig, state.surroundings(reader, after.project, after.type), ports.randomMac);
    if (Object.keys(added).length > 0) await writer.record(after, { volatile: added });
    await this.follow(before, this.tools.again(after), by);
  }

  /** @throws Fault */
  async rename(record: InstanceRecord, newName: string, by: CallContext): Promise<void> {
    const { locks, writer, ports, log } = this.tools;
    checkInstanceName(newName);
    using _held = await locks.take(record.id, 'rename');
    if (isRunning((await this.power.power(record)).state)) throw fault.conflict('Renaming of running container not allowed');
    if (state.findInstance(this.tools.reader, record.project, newName)) throw fault.conflict(`Name "${newName}" already in use`);
    await this.intents.during({ kind: 'rename', id: record.id, name: record.name, newName }, async () => {
      await using undo = new Undo(log);
      const { project, name } = record;
      await this.devices.removed(record);
      undo.add('devices', () => this.devices.added(this.tools.again(record)));
      await writer.submit(state.renameInstance, { project, name, newName }, by);
      undo.add('record', () => writer.submit(state.renameInstance, { project, name: newName, newName: name }, by));
      await ports.storage.rename(state.rootVolume(record), newName);
      undo.drop();
      await this.renamed(record, this.tools.again(record), by);
    });
  }

  /** The second half of a rename: row and volume bear the new name. Can be done again. */
  async renamed(before: InstanceRecord, after: InstanceRecord, by: CallContext): Promise<void> {
    await this.relocated(before, after);
    await this.devices.added(after);
    const volatile = { 'volatile.apply_template': 'rename', 'volatile.cloud-init.instance-id': randomUUID() };
    await this.tools.writer.recordSurely(after, { volatile }, by);
  }

  /** Its rows say another name or project: what lies beside its volume follows. */
  async relocated(before: InstanceRecord, after: InstanceRecord): Promise<void> {
    const { paths } = this.tools;
    if (paths.logs(before) === paths.logs(after)) return;
    // Once they have moved, those of the new name are its own.
    if (existsSync(paths.logs(before))) {
      await removeTree(paths.logs(after));
      await rename(paths.logs(before), paths.logs(after));
    }
    await this.#removeDirectories(before);
  }

  /** @throws Fault conflict: it runs, or is protected */
  async remove(record: InstanceRecord, by: CallContext): Promise<void> {
    using _held = await this.tools.locks.take(record.id, 'delete');
    if (isRunning((await this.power.power(record)).state)) throw fault.invalid('Instance is running');
    if (isTrue(record.expandedConfig['security.protection.delete'])) throw fault.forbidden('Container is protected');
    await this.#remove(record, by);
  }

  async #remove(record: InstanceRecord, by: CallContext): Promise<void> {
    await this.intents.during({ kind: 'delete', id: record.id }, () => this.removeAll(record, by));
  }

  /** All that there is of an instance, in an order in which it can be done again from the start. `quiet`: it never was whole. */
  async removeAll(record: InstanceRecord, by: CallContext, quiet = false): Promise<void> {
    const { ports, paths, writer } = this.tools;
    const key = paths.key(record);
    await this.power.makeStopped(record, by);
    await this.devices.release(record);
    await this.devices.removed(record);
    const volume = state.rootVolume(record);
    if (findVolume(this.tools.reader, volume, record.memberId)) await ports.storage.remove(volume);
    await this.tools.driver(record).clean(key);
    await this.#removeDirectories(record);
    await removeTree(paths.logs(record));
    await writer.submit(quiet ? state.forgetInstance : state.deleteInstance, { id: record.id }, by);
  }

  async #removeDirectories(record: InstanceRecord): Promise<void> {
    const { paths } = this.tools;
    for (const path of [paths.devices(record), paths.inject(record)]) await removeTree(path);
  }
}

const cloudInitKeys = ['vendor-data', 'user-data', 'network-config'].flatMap((key) => [`cloud-init.${key}`, `user.${key}`]);

/** cloud-init runs again for a new instance-id: when what it is told changes, or the names of nics. */
function needsNewInstanceId(before: InstanceRecord, after: { config: ConfigMap; devices: DevicesMap }): boolean {
  if (cloudInitKeys.some((key) => (before.expandedConfig[key] ?? '') !== (after.config[key] ?? ''))) return true;
  const names = (devices: DevicesMap): string =>
    Object.entries(devices)
      .filter(([, device]) => device.type === 'nic')
      .map(([name, device]) => device.name || name)
      .sort()
      .join();
  return names(before.expandedDevices) !== names(after.devices);
}

/** The size of the root disk is that of its volume. */
function sizedConfig(config: ConfigMap, record: InstanceRecord): ConfigMap {
  const size = Object.values(record.expandedDevices).find(isRootDisk)?.size;
  return size ? { ...config, size } : config;
}
