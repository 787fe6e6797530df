import { epoch, statusText, zeroTime, type Instance, type InstanceSnapshot } from '#api-contract';
import { type InstanceRecord, profileProject, rootVolume, type SnapshotRecord, snapshots } from '#instances/state';
import { profiles } from '#profiles/state';
import type { Reader } from '#replica/state';
import { configOn, pool, type SnapshotRecord as VolumeSnapshotRecord, volume, type VolumeRecord, volumeSnapshots } from '#storage/state';
import type { BackupConfig, BackupVolumeSnapshot } from '../model/index.js';

/** Everything that is recorded of an instance, as it goes with its bytes. `only` leaves its snapshots out. */
export function instanceConfig(reader: Reader, record: InstanceRecord, location: string, only: boolean): BackupConfig {
  const ref = rootVolume(record);
  const poolRecord = pool(reader, ref.pool);
  const volumeRecord = volume(reader, ref, record.memberId);
  const profilesIn = profileProject(reader, record.project);
  return {
    container: instanceOf(record, location),
    snapshots: only ? [] : snapshots(reader, record.id).map((snapshot) => snapshotOf(snapshot, record)),
    pool: {
      name: poolRecord.name,
      driver: poolRecord.driver,
      description: poolRecord.description,
      config: configOn(poolRecord, record.memberId),
      used_by: [],
      status: 'Created',
      locations: [location],
    },
    profiles: profiles(reader, profilesIn).map(({ name, description, config, devices }) => ({ name, description, config, devices, used_by: [] })),
    volume: volumeOf(volumeRecord, location),
    volume_snapshots: only ? [] : volumeSnapshots(reader, volumeRecord.id).map((snapshot) => volumeSnapshotOf(snapshot, volumeRecord)),
  };
}

/** The same of a custom volume. */
export function volumeConfig(reader: Reader, record: VolumeRecord, location: string, only: boolean): BackupConfig {
  return {
    snapshots: [],
    profiles: [],
    volume: volumeOf(record, location),
    volume_snapshots: only ? [] : volumeSnapshots(reader, record.id).map((snapshot) => volumeSnapshotOf(snapshot, record)),
  };
}

const instanceOf = (record: InstanceRecord, location: string): Instance => ({
  architecture: record.architecture,
  config: record.config,
  devices: record.devices,
  ephemeral: record.ephemeral,
  profiles: record.profiles,
  stateful: record.stateful,
  description: record.description,
  created_at: record.createdAt,
  expanded_config: record.expandedConfig,
  expanded_devices: record.expandedDevices,
  name: record.name,
  status: statusText[record.status],
  status_code: record.status,
  last_used_at: record.lastUsedAt || epoch,
  location,
  type: record.type,
  project: record.project,
});

const snapshotOf = (snapshot: SnapshotRecord, of: InstanceRecord): InstanceSnapshot => ({
  expires_at: snapshot.expiresAt || zeroTime,
  architecture: of.architecture,
  config: snapshot.config,
  created_at: snapshot.createdAt,
  devices: snapshot.devices,
  ephemeral: snapshot.ephemeral,
  expanded_config: snapshot.config,
  expanded_devices: { ...of.expandedDevices, ...snapshot.devices },
  last_used_at: zeroTime,
  name: snapshot.name,
  profiles: of.profiles,
  stateful: snapshot.stateful,
  size: 0,
});

const volumeOf = (record: VolumeRecord, location: string): NonNullable<BackupConfig['volume']> => ({
  name: record.name,
  type: record.type,
  description: record.description,
  config: record.config,
  content_type: record.contentType,
  created_at: record.createdAt,
  project: record.project,
  location,
  used_by: [],
});

const volumeSnapshotOf = (snapshot: VolumeSnapshotRecord, of: VolumeRecord): BackupVolumeSnapshot => ({
  name: snapshot.name,
  description: snapshot.description,
  expires_at: snapshot.expiresAt || zeroTime,
  config: snapshot.config,
  content_type: of.contentType,
});
