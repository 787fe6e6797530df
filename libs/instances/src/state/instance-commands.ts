import { checkEtag, type ConfigMap, type DevicesMap, type InstanceType, type StatusCode } from '#api-contract';
import { fault } from '#kit';
import { expand } from '#profiles/model';
import { checkProject, effectiveProject } from '#projects/state';
import { defineCommand, type CommandContext } from '#replica/state';
import { findSnapshot as findVolumeSnapshot, insertVolume, removeVolume, renameVolume, updateVolume, volume } from '#storage/state';
import { checkInstanceName, isRootDisk, rootPool } from '../model/index.js';
import { findInstance, instance, instanceById, instanceEtag, type InstanceRecord } from './queries.js';
import { checkNics, checkWanted, profilesFor } from './rules.js';
import { addSnapshot, asJson, emit, refer, rootVolume, setProfiles, type NewSnapshotRow, type VolumeWords } from './steps.js';

export interface NewInstance {
  project: string;
  name: string;
  memberId: number;
  type: InstanceType;
  architecture: string;
  description: string;
  ephemeral: boolean;
  /** volatile.* included: UUIDs, MAC addresses and the id map are made before submit. */
  config: ConfigMap;
  devices: DevicesMap;
  profiles: readonly string[];
  stateful?: boolean;
  /** Snapshots that come with a copy, oldest first. */
  snapshots?: readonly NewSnapshotRow[];
  createdAt?: string;
  /** What its volume was told where it comes from. */
  volume?: VolumeWords;
}

/** The instance's row, and that of its volume. Nothing is on disk yet: `forgetInstance` takes it back. @returns its id */
export const createInstance = defineCommand<NewInstance, { id: number }>({
  name: 'instances.create',
  run(ctx, wanted) {
    const { project, name, memberId, type, architecture, description, ephemeral, devices, stateful = false, snapshots = [], createdAt } = wanted;
    checkInstanceName(name);
    if (findInstance(ctx.sql, project, name)) throw alreadyThere();
    const profiles = profilesFor(ctx.sql, project, wanted.profiles);
    const expanded = checkWanted(ctx.sql, { project, type, config: wanted.config, devices, profiles }, 'create');
    const pool = rootPool(expanded.devices);
    const id = ctx.nextId('instances');
    const json = asJson(wanted.config, devices);
    ctx.sql.run(
      `INSERT INTO instances (id, project, name, member_id, epoch, type, architecture, description, ephemeral, stateful, config, devices, status, created_at, last_used_at)
       VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, 102, ?, '')`,
      id,
      project,
      name,
      memberId,
      type,
      architecture,
      description,
      Number(ephemeral),
      Number(stateful),
      json.config,
      json.devices,
      createdAt ?? ctx.now.toISOString(),
    );
    setProfiles(ctx, id, profiles);
    const contentType = type === 'container' ? 'filesystem' : 'block';
    const { description: words, config: keys } = wanted.volume ?? {};
    insertVolume(ctx, { pool, project, type, name, memberId, contentType, description: words, config: keys, dropUnknownKeys: true });
    if (snapshots.length > 0) {
      const made = instanceById(ctx.sql, id)!;
      for (const snapshot of snapshots) addSnapshot(ctx, made, snapshot);
    }
    refer(ctx, id);
    checkProject(ctx.sql, project);
    emit(ctx, 'instance-created', { project, name }, { type, 'storage-pool': pool });
    return { id };
  },
});

export interface InstanceChange {
  architecture: string;
  description: string;
  ephemeral: boolean;
  config: ConfigMap;
  devices: DevicesMap;
  profiles: readonly string[];
  stateful?: boolean;
}

const keptByServer = ['volatile.idmap.base', 'volatile.idmap.current', 'volatile.idmap.next', 'volatile.last_state.idmap'];

export interface InstanceUpdate {
  project: string;
  name: string;
  put: InstanceChange;
  ifMatch?: string;
  /** With all checks and the event; otherwise what the server itself sets back. */
  byUser: boolean;
  /** The snapshot that it becomes again: its volume's row, too. */
  restored?: string;
}

export const updateInstance = defineCommand<InstanceUpdate>({
  name: 'instances.update',
  run(ctx, { project, name, put, ifMatch, byUser, restored }) {
    const before = instance(ctx.sql, project, name);
    checkEtag(ifMatch, instanceEtag(before));
    const profiles = profilesFor(ctx.sql, project, put.profiles);
    if (byUser) {
      for (const key of keptByServer) {
        if (before.config[key] && !put.config[key]) throw fault.invalid("Volatile idmap keys can't be deleted by the user", { status: 500 });
      }
      // First, as LXD does: a pool that is not there is above all another one.
      checkSamePool(before, expand(profiles, put.config, put.devices).devices);
      const expanded = checkWanted(ctx.sql, { project, type: before.type, config: put.config, devices: put.devices, profiles }, 'update');
      rootPool(expanded.devices);
      checkNics(ctx.sql, before, expanded);
    }
    const json = asJson(put.config, put.devices);
    ctx.sql.run(
      'UPDATE instances SET architecture = ?, description = ?, ephemeral = ?, stateful = ?, config = ?, devices = ? WHERE id = ?',
      put.architecture,
      put.description,
      Number(put.ephemeral),
      Number(put.stateful ?? before.stateful),
      json.config,
      json.devices,
      before.id,
    );
    setProfiles(ctx, before.id, profiles);
    refer(ctx, before.id);
    if (restored !== undefined) restoreVolumeRow(ctx, before, restored);
    if (!byUser) return;
    checkProject(ctx.sql, project);
    emit(ctx, 'instance-updated', { project, name });
  },
});

function restoreVolumeRow(ctx: CommandContext, record: InstanceRecord, snapshot: string): void {
  const ref = rootVolume(record);
  const was = findVolumeSnapshot(ctx.sql, volume(ctx.sql, ref, record.memberId).id, snapshot);
  if (was) updateVolume(ctx, ref, was, record.memberId);
}

function checkSamePool(before: InstanceRecord, after: DevicesMap): void {
  const root = Object.values(after).find(isRootDisk);
  const was = Object.values(before.expandedDevices).find(isRootDisk);
  if (root && was && root.pool !== was.pool) throw fault.invalid(`Cannot update root disk device pool name to "${root.pool}"`, { status: 500 });
}

export const renameInstance = defineCommand<{ project: string; name: string; newName: string }>({
  name: 'instances.rename',
  run(ctx, { project, name, newName }) {
    const before = instance(ctx.sql, project, name);
    checkInstanceName(newName);
    if (findInstance(ctx.sql, project, newName)) throw fault.conflict(`Name "${newName}" already in use`, { status: 409 });
    ctx.sql.run('UPDATE instances SET name = ? WHERE id = ?', newName, before.id);
    renameVolume(ctx, rootVolume(before), newName, before.memberId);
    refer(ctx, before.id);
    emit(ctx, 'instance-renamed', { project, name: newName }, { old_name: name });
  },
});

/** Everything that is left of it on the member is gone already. Nothing there is success. */
export const deleteInstance = defineCommand<{ id: number }>({
  name: 'instances.delete',
  run(ctx, { id }) {
    const record = instanceById(ctx.sql, id);
    if (!record) return;
    removeRows(ctx, record);
    emit(ctx, 'instance-deleted', record);
  },
});

/** Takes back a create that went wrong: no event, and nothing there is success. */
export const forgetInstance = defineCommand<{ id: number }>({
  name: 'instances.forget',
  run(ctx, { id }) {
    const record = instanceById(ctx.sql, id);
    if (record) removeRows(ctx, record);
  },
});

function removeRows(ctx: CommandContext, record: InstanceRecord): void {
  ctx.sql.run('DELETE FROM instance_snapshots WHERE instance_id = ?', record.id);
  ctx.sql.run('DELETE FROM instance_profiles WHERE instance_id = ?', record.id);
  ctx.sql.run('DELETE FROM instances WHERE id = ?', record.id);
  refer(ctx, record.id);
  removeVolume(ctx, rootVolume(record), record.memberId);
}

/** Where a write comes from: an instance's owner of that epoch. What an earlier owner says is dropped. */
export interface Written {
  id: number;
  epoch: number;
}

/** Keys of config that the server itself sets ('' unsets), with what else a step records; one command for all of a start or a stop. */
export interface ServerWrite extends Written {
  volatile?: ConfigMap;
  status?: StatusCode;
  /** It was started now. */
  used?: boolean;
  stateful?: boolean;
  lifecycle?: { action: string; context?: Record<string, unknown> }[];
}

export const recordInstance = defineCommand<ServerWrite>({
  name: 'instances.record',
  run(ctx, { id, epoch, volatile, status, used, stateful, lifecycle = [] }) {
    const row = ctx.sql.get<{ project: string; name: string; epoch: number; config: string; devices: string }>(
      'SELECT project, name, epoch, config, devices FROM instances WHERE id = ?',
      id,
    );
    if (!row || row.epoch !== epoch) return;
    if (volatile) {
      const config = { ...(JSON.parse(row.config) as ConfigMap), ...volatile };
      ctx.sql.run('UPDATE instances SET config = ? WHERE id = ?', asJson(config, JSON.parse(row.devices) as DevicesMap).config, id);
    }
    if (status !== undefined) ctx.sql.run('UPDATE instances SET status = ? WHERE id = ?', status, id);
    if (used) ctx.sql.run('UPDATE instances SET last_used_at = ? WHERE id = ?', ctx.now.toISOString(), id);
    if (stateful !== undefined) ctx.sql.run('UPDATE instances SET stateful = ? WHERE id = ?', Number(stateful), id);
    for (const { action, context } of lifecycle) emit(ctx, action, row, context);
  },
});

/** To another pool or project of the same member, its bytes being there already. The volume's row is the caller's (relocateVolume, moved). */
export const relocateInstance = defineCommand<{
  id: number;
  project: string;
  name: string;
  devices: DevicesMap;
  profiles: readonly string[];
  config: ConfigMap;
  /** Devices of its snapshots, where they change with it. */
  snapshotDevices?: Record<string, DevicesMap>;
}>({
  name: 'instances.relocate',
  run(ctx, { id, project, name, devices, profiles, config, snapshotDevices = {} }) {
    const record = instanceById(ctx.sql, id);
    if (!record) throw fault.notFound('Instance not found');
    const other = findInstance(ctx.sql, project, name);
    if (other && other.id !== id) throw alreadyThere();
    const json = asJson(config, devices);
    ctx.sql.run(
      'UPDATE instances SET project = ?, name = ?, config = ?, devices = ?, epoch = epoch + 1 WHERE id = ?',
      project,
      name,
      json.config,
      json.devices,
      id,
    );
    for (const [snapshot, changed] of Object.entries(snapshotDevices)) {
      ctx.sql.run('UPDATE instance_snapshots SET devices = ? WHERE instance_id = ? AND name = ?', JSON.stringify(changed), id, snapshot);
    }
    setProfiles(ctx, id, profilesFor(ctx.sql, project, profiles));
    refer(ctx, id);
    checkProject(ctx.sql, project);
  },
});

const alreadyThere = (): Error =>
  fault.conflict('Failed creating instance record: Add instance info to the database: This "instances" entry already exists');

/** The project in which the custom volumes of an instance's disks are. */
export const volumeProject = (ctx: CommandContext, project: string): string => effectiveProject(ctx.sql, project, 'features.storage.volumes');
