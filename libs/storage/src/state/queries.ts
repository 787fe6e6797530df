import { apiUrl } from '#api-contract';
import { fault } from '#kit';
import { targetOf, usedBy } from '#projects/state';
import type { Reader, SqlValue } from '#replica/state';
import { type ContentType, type VolumeRef, type VolumeType, isInstanceVolume } from '../model/index.js';
import type { PoolState } from './tables.js';

export interface PoolRecord {
  id: number;
  name: string;
  driver: string;
  description: string;
  /** Global keys only. */
  config: Record<string, string>;
  state: PoolState;
  members: { memberId: number; config: Record<string, string>; state: PoolState }[];
}

export interface VolumeRecord extends VolumeRef {
  id: number;
  poolId: number;
  memberId: number;
  contentType: ContentType;
  description: string;
  config: Record<string, string>;
  createdAt: string;
}

export interface SnapshotRecord {
  id: number;
  volumeId: number;
  name: string;
  description: string;
  config: Record<string, string>;
  createdAt: string;
  /** '': never. */
  expiresAt: string;
}

interface PoolRow {
  id: number;
  name: string;
  driver: string;
  description: string;
  config: string;
  state: PoolState;
}

const parseConfig = (text: string): Record<string, string> => JSON.parse(text) as Record<string, string>;

function withMembers(reader: Reader, row: PoolRow): PoolRecord {
  const members = reader.all<{ member_id: number; config: string; state: PoolState }>(
    'SELECT member_id, config, state FROM storage_pool_members WHERE pool_id = ? ORDER BY member_id',
    row.id,
  );
  return {
    ...row,
    config: parseConfig(row.config),
    members: members.map(({ member_id, config, state }) => ({ memberId: member_id, config: parseConfig(config), state })),
  };
}

const poolColumns = 'SELECT id, name, driver, description, config, state FROM storage_pools';

export function pools(reader: Reader): PoolRecord[] {
  return reader.all<PoolRow>(`${poolColumns} ORDER BY name`).map((row) => withMembers(reader, row));
}

export function findPool(reader: Reader, name: string): PoolRecord | undefined {
  const row = reader.get<PoolRow>(`${poolColumns} WHERE name = ?`, name);
  return row && withMembers(reader, row);
}

/** @throws Fault notFound */
export function pool(reader: Reader, name: string): PoolRecord {
  const found = findPool(reader, name);
  if (!found) throw fault.notFound('Storage pool not found');
  return found;
}

/** The config that is in force on a member: global keys and its own. */
export const configOn = (record: PoolRecord, memberId: number): Record<string, string> => ({
  ...record.config,
  ...record.members.find((member) => member.memberId === memberId)?.config,
});

/** The target of reference rows to a volume. */
export const volumeTarget = (volume: VolumeRef): string => targetOf('volume', volume.pool, volume.project, volume.type, volume.name);

/** URL of a volume or snapshot in the storage API. */
export const volumeUrl = (volume: VolumeRef, snapshot?: string): string =>
  apiUrl(
    ['storage-pools', volume.pool, 'volumes', volume.type, volume.name, ...(snapshot === undefined ? [] : ['snapshots', snapshot])],
    volume.project,
  );

/**
 * Everything that lies in or names a pool, by its own URL, in the order of URLs: instances and their snapshots, images, custom volumes, profiles. `images:
 * false` leaves out what goes by itself with the pool.
 */
export function poolUsedBy(reader: Reader, record: PoolRecord, options: { images: boolean } = { images: true }): string[] {
  const urls = new Set(usedBy(reader, targetOf('pool', record.name)));
  for (const volume of volumesIn(reader, record, {})) {
    if (volume.type === 'image') {
      if (options.images) for (const url of imageUrls(reader, volume)) urls.add(url);
      continue;
    }
    if (isInstanceVolume(volume.type)) urls.add(apiUrl(['instances', volume.name], volume.project));
    else urls.add(volumeUrl(volume));
  }
  for (const { project, name, type, snapshot } of snapshotNames(reader, record)) {
    if (isInstanceVolume(type)) urls.add(apiUrl(['instances', name, 'snapshots', snapshot], project));
    else urls.add(volumeUrl({ pool: record.name, project, type, name }, snapshot));
  }
  return [...urls].sort();
}

/** The image itself in each project that has it; the volume's own URL for one whose image is gone. */
function imageUrls(reader: Reader, volume: VolumeRef): string[] {
  const urls = usedBy(reader, targetOf('image', volume.name)).filter((url) => url.startsWith('/1.0/images/'));
  return urls.length > 0 ? urls : [volumeUrl(volume)];
}

const snapshotNames = (reader: Reader, record: PoolRecord): { project: string; type: VolumeType; name: string; snapshot: string }[] =>
  reader.all(
    `SELECT v.project, v.type, v.name, s.name AS snapshot FROM storage_volumes v JOIN storage_volume_snapshots s ON s.volume_id = v.id WHERE v.pool_id = ?`,
    record.id,
  );

export function volumeUsedBy(reader: Reader, volume: VolumeRef, snapshot?: string): string[] {
  if (isInstanceVolume(volume.type))
    return [apiUrl(['instances', volume.name, ...(snapshot === undefined ? [] : ['snapshots', snapshot])], volume.project)];
  if (snapshot !== undefined) return [];
  if (volume.type === 'image') return usedBy(reader, targetOf('image', volume.name)).filter((url) => url.startsWith('/1.0/images/'));
  return usedBy(reader, volumeTarget(volume));
}

interface VolumeRow {
  id: number;
  pool_id: number;
  pool: string;
  member_id: number;
  project: string;
  type: VolumeType;
  name: string;
  content_type: ContentType;
  description: string;
  config: string;
  created_at: string;
}

const fromVolumeRow = (row: VolumeRow): VolumeRecord => ({
  id: row.id,
  poolId: row.pool_id,
  pool: row.pool,
  memberId: row.member_id,
  project: row.project,
  type: row.type,
  name: row.name,
  contentType: row.content_type,
  description: row.description,
  config: parseConfig(row.config),
  createdAt: row.created_at,
});

const volumeColumns = `SELECT v.id, v.pool_id, p.name AS pool, v.member_id, v.project, v.type, v.name, v.content_type, v.description, v.config, v.created_at
  FROM storage_volumes v JOIN storage_pools p ON p.id = v.pool_id`;

/** In the order that lists have: by type, then name. */
export function volumesIn(reader: Reader, record: PoolRecord, where: { type?: VolumeType; project?: string; memberId?: number }): VolumeRecord[] {
  const conditions = ['v.pool_id = ?'];
  const parameters: SqlValue[] = [record.id];
  const add = (condition: string, value: SqlValue | undefined): void => {
    if (value === undefined) return;
    conditions.push(condition);
    parameters.push(value);
  };
  add('v.type = ?', where.type);
  add('v.project = ?', where.project);
  add('v.member_id IN (0, ?)', where.memberId);
  return reader
    .all<VolumeRow>(`${volumeColumns} WHERE ${conditions.join(' AND ')} ORDER BY v.type, v.name, v.project`, ...parameters)
    .map(fromVolumeRow);
}

/** `memberId` tells volumes of one name on several members apart; without it the first is found. */
export function findVolume(reader: Reader, { pool: poolName, type, project, name }: VolumeRef, memberId?: number): VolumeRecord | undefined {
  const onMember = memberId === undefined ? '' : ' AND v.member_id IN (0, ?)';
  const parameters = [poolName, type, project, name, ...(memberId === undefined ? [] : [memberId])];
  const row = reader.get<VolumeRow>(
    `${volumeColumns} WHERE p.name = ? AND v.type = ? AND v.project = ? AND v.name = ?${onMember} ORDER BY v.member_id LIMIT 1`,
    ...parameters,
  );
  return row && fromVolumeRow(row);
}

/** @throws Fault notFound */
export function volume(reader: Reader, ref: VolumeRef, memberId?: number): VolumeRecord {
  const found = findVolume(reader, ref, memberId);
  if (!found) throw fault.notFound('Storage pool volume not found');
  return found;
}

/** Volumes of images: which pools have it unpacked. */
export function imageVolumes(reader: Reader, fingerprint: string): VolumeRecord[] {
  return reader.all<VolumeRow>(`${volumeColumns} WHERE v.type = 'image' AND v.name = ? ORDER BY p.name, v.member_id`, fingerprint).map(fromVolumeRow);
}

interface SnapshotRow {
  id: number;
  volume_id: number;
  name: string;
  description: string;
  config: string;
  created_at: string;
  expires_at: string;
}

const snapshotColumns = 'id, volume_id, name, description, config, created_at, expires_at';
const fromSnapshotRow = (row: SnapshotRow): SnapshotRecord => ({
  id: row.id,
  volumeId: row.volume_id,
  name: row.name,
  description: row.description,
  config: parseConfig(row.config),
  createdAt: row.created_at,
  expiresAt: row.expires_at,
});

/** In the order they were made. */
export function volumeSnapshots(reader: Reader, volumeId: number): SnapshotRecord[] {
  return reader
    .all<SnapshotRow>(`SELECT ${snapshotColumns} FROM storage_volume_snapshots WHERE volume_id = ? ORDER BY id`, volumeId)
    .map(fromSnapshotRow);
}

export function findSnapshot(reader: Reader, volumeId: number, name: string): SnapshotRecord | undefined {
  const row = reader.get<SnapshotRow>(`SELECT ${snapshotColumns} FROM storage_volume_snapshots WHERE volume_id = ? AND name = ?`, volumeId, name);
  return row && fromSnapshotRow(row);
}

/** @throws Fault notFound */
export function snapshot(reader: Reader, volumeId: number, name: string): SnapshotRecord {
  const found = findSnapshot(reader, volumeId, name);
  if (!found) throw fault.notFound('Storage pool volume not found');
  return found;
}

/** Custom volumes of a member that want snapshots by schedule. */
export function scheduledVolumes(reader: Reader, memberId: number): VolumeRecord[] {
  const schedule = `json_extract(v.config, '$."snapshots.schedule"')`;
  return reader
    .all<VolumeRow>(`${volumeColumns} WHERE v.type = 'custom' AND v.member_id IN (0, ?) AND ${schedule} <> '' ORDER BY v.id`, memberId)
    .map(fromVolumeRow);
}

/** Snapshots of custom volumes on a member whose time is over. */
export function expiredSnapshots(reader: Reader, memberId: number, now: Date): { volume: VolumeRecord; snapshot: string }[] {
  const rows = reader.all<VolumeRow & { snapshot: string }>(
    volumeColumns.replace('v.created_at', 'v.created_at, s.name AS snapshot') +
      ` JOIN storage_volume_snapshots s ON s.volume_id = v.id
        WHERE s.expires_at <> '' AND s.expires_at <= ? AND v.type = 'custom' AND v.member_id IN (0, ?) ORDER BY s.expires_at`,
    now.toISOString(),
    memberId,
  );
  return rows.map((row) => ({ volume: fromVolumeRow(row), snapshot: row.snapshot }));
}

/** `snapN`, one more than the highest there is. */
export function nextSnapshotName(reader: Reader, volumeId: number): string {
  const numbers = volumeSnapshots(reader, volumeId).map(({ name }) => Number(/^snap(\d{1,9})$/.exec(name)?.[1] ?? -1));
  return `snap${Math.max(-1, ...numbers) + 1}`;
}
