import { apiUrl, type ConfigMap, type DevicesMap, type InstanceType } from '#api-contract';
import { devicesWithoutUnset, withoutUnset } from '#config-keys';
import { fault } from '#kit';
import { devicesUse } from '#profiles/model';
import type { ProfileRecord } from '#profiles/state';
import { effectiveProject, setReferences, targetOf } from '#projects/state';
import type { CommandContext } from '#replica/state';
import { insertVolumeSnapshot, pool, volumeTarget } from '#storage/state';
import { knownVolumeKeys, type VolumeRef } from '#storage/model';
import { rootPool } from '../model/index.js';
import { instanceById, profileProject, type InstanceRecord } from './queries.js';

/** Config and devices of one entity may hold this much together. */
const entityMaxBytes = 256 * 1024;

/** JSON of an instance's config and devices, for its row. @throws Fault tooLarge */
export function asJson(config: ConfigMap, devices: DevicesMap): { config: string; devices: string } {
  const json = { config: JSON.stringify(withoutUnset(config)), devices: JSON.stringify(devicesWithoutUnset(devices)) };
  if (Buffer.byteLength(json.config) + Buffer.byteLength(json.devices) > entityMaxBytes) {
    throw fault.tooLarge("The instance's config and devices are larger than 256 KiB");
  }
  return json;
}

export const instanceUrl = (project: string, name: string): string => apiUrl(['instances', name], project);

/** The volume that holds the instance's root. @throws Fault invalid without a root disk */
export const rootVolume = (record: Pick<InstanceRecord, 'project' | 'name' | 'type' | 'expandedDevices'>): VolumeRef => ({
  pool: rootPool(record.expandedDevices),
  project: record.project,
  type: record.type,
  name: record.name,
});

/** Description and config of a volume, or a snapshot of it, that comes with an instance; keys that the pool's driver does not know fall away. */
export interface VolumeWords {
  description: string;
  config: ConfigMap;
}

/** A snapshot that comes from elsewhere: with a copy, a backup, a migration. */
export interface NewSnapshotRow {
  name: string;
  description: string;
  ephemeral: boolean;
  config: ConfigMap;
  devices: DevicesMap;
  createdAt: string;
  expiresAt: string;
  volume?: VolumeWords;
}

/** Step: such a snapshot's row, and that of its volume's snapshot. @throws Fault conflict */
export function addSnapshot(ctx: CommandContext, of: InstanceRecord, snapshot: NewSnapshotRow): void {
  const json = asJson(snapshot.config, snapshot.devices);
  ctx.sql.run(
    `INSERT INTO instance_snapshots (id, instance_id, name, description, ephemeral, stateful, config, devices, created_at, expires_at) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)`,
    ctx.nextId('instance_snapshots'),
    of.id,
    snapshot.name,
    snapshot.description,
    Number(snapshot.ephemeral),
    json.config,
    json.devices,
    snapshot.createdAt,
    snapshot.expiresAt,
  );
  const expiresAt = snapshot.expiresAt === '' ? undefined : new Date(snapshot.expiresAt);
  const volume = rootVolume(of);
  const { driver } = pool(ctx.sql, volume.pool);
  const { description, config } = snapshot.volume ?? {};
  insertVolumeSnapshot(ctx, volume, { name: snapshot.name, expiresAt, description, config: config && knownVolumeKeys(driver, config) }, of.memberId);
}

export function setProfiles(ctx: CommandContext, id: number, profiles: readonly ProfileRecord[]): void {
  ctx.sql.run('DELETE FROM instance_profiles WHERE instance_id = ?', id);
  for (const [position, profile] of profiles.entries()) {
    ctx.sql.run('INSERT INTO instance_profiles (instance_id, position, profile_id) VALUES (?, ?, ?)', id, position, profile.id);
  }
}

/** Step: what the instance, with its profiles, refers to. */
export function refer(ctx: CommandContext, id: number): void {
  const record = instanceById(ctx.sql, id);
  if (!record) return setReferences(ctx, { kind: 'instance', id, url: '' }, []);
  const { project, name } = record;
  const { pools, networks, volumes } = devicesUse(record.expandedDevices);
  const networkProject = effectiveProject(ctx.sql, project, 'features.networks');
  const volumeProject = effectiveProject(ctx.sql, project, 'features.storage.volumes');
  const profilesIn = profileProject(ctx.sql, project);
  setReferences(ctx, { kind: 'instance', id, url: instanceUrl(project, name) }, [
    targetOf('project', project),
    ...record.profiles.map((profile) => targetOf('profile', profilesIn, profile)),
    ...pools.map((pool) => targetOf('pool', pool)),
    ...networks.map((network) => targetOf('network', networkProject, network)),
    ...volumes.map((volume) => volumeTarget({ ...volume, project: volumeProject, type: 'custom' })),
  ]);
}

export function emit(
  ctx: CommandContext,
  action: string,
  { project, name, snapshot }: { project: string; name: string; snapshot?: string },
  context?: Record<string, unknown>,
): void {
  const path = snapshot === undefined ? ['instances', name] : ['instances', name, 'snapshots', snapshot];
  ctx.emit({ action, source: apiUrl(path, project), project, context });
}

export type { InstanceType };
