import type { ConfigMap, DevicesMap, InstanceType, StatusCode } from '#api-contract';
import { fault } from '#kit';
import { expand } from '#profiles/model';
import { effectiveProject } from '#projects/state';
import type { Reader, SqlValue } from '#replica/state';

export interface InstanceRecord {
  id: number;
  project: string;
  name: string;
  memberId: number;
  epoch: number;
  type: InstanceType;
  architecture: string;
  description: string;
  ephemeral: boolean;
  stateful: boolean;
  config: ConfigMap;
  devices: DevicesMap;
  status: StatusCode;
  createdAt: string;
  /** '': never. */
  lastUsedAt: string;
  /** Names, in the order in which they apply. */
  profiles: string[];
  /** With what its profiles give. */
  expandedConfig: ConfigMap;
  expandedDevices: DevicesMap;
}

export interface SnapshotRecord {
  id: number;
  instanceId: number;
  name: string;
  description: string;
  ephemeral: boolean;
  stateful: boolean;
  config: ConfigMap;
  devices: DevicesMap;
  createdAt: string;
  /** '': never. */
  expiresAt: string;
}

interface Row {
  id: number;
  project: string;
  name: string;
  member_id: number;
  epoch: number;
  type: InstanceType;
  architecture: string;
  description: string;
  ephemeral: number;
  stateful: number;
  config: string;
  devices: string;
  status: StatusCode;
  created_at: string;
  last_used_at: string;
}

export interface ProfileParts {
  name: string;
  config: ConfigMap;
  devices: DevicesMap;
}

const columns =
  'i.id, i.project, i.name, i.member_id, i.epoch, i.type, i.architecture, i.description, i.ephemeral, i.stateful, i.config, i.devices, i.status, i.created_at, i.last_used_at';

/** @param parsed profiles by id that were read before in the same turn: a list reads each once */
function complete(reader: Reader, row: Row, parsed = new Map<number, ProfileParts>()): InstanceRecord {
  const profiles = profilesOf(reader, row.id, parsed);
  const config = JSON.parse(row.config) as ConfigMap;
  const devices = JSON.parse(row.devices) as DevicesMap;
  const expanded = expand(profiles, config, devices);
  return {
    id: row.id,
    project: row.project,
    name: row.name,
    memberId: row.member_id,
    epoch: row.epoch,
    type: row.type,
    architecture: row.architecture,
    description: row.description,
    ephemeral: row.ephemeral === 1,
    stateful: row.stateful === 1,
    config,
    devices,
    status: row.status,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
    profiles: profiles.map(({ name }) => name),
    expandedConfig: expanded.config,
    expandedDevices: expanded.devices,
  };
}

function profilesOf(reader: Reader, id: number, parsed: Map<number, ProfileParts>): ProfileParts[] {
  return reader
    .all<{ profile_id: number }>('SELECT profile_id FROM instance_profiles WHERE instance_id = ? ORDER BY position', id)
    .map(({ profile_id }) => {
      let parts = parsed.get(profile_id);
      if (!parts) {
        const row = reader.get<{ name: string; config: string; devices: string }>(
          'SELECT name, config, devices FROM profiles WHERE id = ?',
          profile_id,
        )!;
        parts = { name: row.name, config: JSON.parse(row.config) as ConfigMap, devices: JSON.parse(row.devices) as DevicesMap };
        parsed.set(profile_id, parts);
      }
      return parts;
    });
}

/** What to select; nothing selects all. Given in no order but that of names. */
export interface InstanceFilter {
  projects?: readonly string[];
  type?: InstanceType;
  memberId?: number;
  ids?: readonly number[];
}

function where({ projects, type, memberId, ids }: InstanceFilter): { sql: string; values: SqlValue[] } {
  const conditions: string[] = [];
  const values: SqlValue[] = [];
  const condition = (sql: string, value: SqlValue): void => {
    conditions.push(sql);
    values.push(value);
  };
  // One parameter however many values there are: the statement stays the same.
  if (projects) condition('i.project IN (SELECT value FROM json_each(?))', JSON.stringify(projects));
  if (ids) condition('i.id IN (SELECT value FROM json_each(?))', JSON.stringify(ids));
  if (type) condition('i.type = ?', type);
  if (memberId !== undefined) condition('i.member_id = ?', memberId);
  return { sql: conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '', values };
}

export function instances(reader: Reader, filter: InstanceFilter = {}): InstanceRecord[] {
  const { sql, values } = where(filter);
  const parsed = new Map<number, ProfileParts>();
  return reader
    .all<Row>(`SELECT ${columns} FROM instances i${sql} ORDER BY i.name, i.project`, ...values)
    .map((row) => complete(reader, row, parsed));
}

/** Only what a list of URLs needs. */
export function instanceNames(reader: Reader, filter: InstanceFilter = {}): { id: number; project: string; name: string; memberId: number }[] {
  const { sql, values } = where(filter);
  return reader
    .all<Row>(`SELECT i.id, i.project, i.name, i.member_id FROM instances i${sql} ORDER BY i.name, i.project`, ...values)
    .map(({ id, project, name, member_id }) => ({ id, project, name, memberId: member_id }));
}

export function findInstance(reader: Reader, project: string, name: string): InstanceRecord | undefined {
  const row = reader.get<Row>(`SELECT ${columns} FROM instances i WHERE i.project = ? AND i.name = ?`, project, name);
  return row && complete(reader, row);
}

/** @throws Fault notFound */
export function instance(reader: Reader, project: string, name: string): InstanceRecord {
  const found = findInstance(reader, project, name);
  if (!found) throw fault.notFound('Instance not found');
  return found;
}

export function instanceById(reader: Reader, id: number): InstanceRecord | undefined {
  const row = reader.get<Row>(`SELECT ${columns} FROM instances i WHERE i.id = ?`, id);
  return row && complete(reader, row);
}

/** Ids of instances that use a profile. */
export function instancesOfProfile(reader: Reader, project: string, name: string): number[] {
  return reader
    .all<{ id: number }>(
      `SELECT DISTINCT ip.instance_id AS id FROM instance_profiles ip JOIN profiles p ON p.id = ip.profile_id WHERE p.project = ? AND p.name = ?`,
      project,
      name,
    )
    .map(({ id }) => id);
}

interface SnapshotRow {
  id: number;
  instance_id: number;
  name: string;
  description: string;
  ephemeral: number;
  stateful: number;
  config: string;
  devices: string;
  created_at: string;
  expires_at: string;
}

const snapshotColumns = 's.id, s.instance_id, s.name, s.description, s.ephemeral, s.stateful, s.config, s.devices, s.created_at, s.expires_at';

const fromSnapshotRow = (row: SnapshotRow): SnapshotRecord => ({
  id: row.id,
  instanceId: row.instance_id,
  name: row.name,
  description: row.description,
  ephemeral: row.ephemeral === 1,
  stateful: row.stateful === 1,
  config: JSON.parse(row.config) as ConfigMap,
  devices: JSON.parse(row.devices) as DevicesMap,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
});

/** In the order in which they were made. */
export function snapshots(reader: Reader, instanceId: number): SnapshotRecord[] {
  return reader
    .all<SnapshotRow>(`SELECT ${snapshotColumns} FROM instance_snapshots s WHERE s.instance_id = ? ORDER BY s.id`, instanceId)
    .map(fromSnapshotRow);
}

export function snapshotNames(reader: Reader, instanceId: number): string[] {
  return reader.all<{ name: string }>('SELECT name FROM instance_snapshots WHERE instance_id = ? ORDER BY id', instanceId).map(({ name }) => name);
}

export function findSnapshot(reader: Reader, instanceId: number, name: string): SnapshotRecord | undefined {
  const row = reader.get<SnapshotRow>(`SELECT ${snapshotColumns} FROM instance_snapshots s WHERE s.instance_id = ? AND s.name = ?`, instanceId, name);
  return row && fromSnapshotRow(row);
}

/** @throws Fault notFound */
export function snapshot(reader: Reader, instanceId: number, name: string): SnapshotRecord {
  const found = findSnapshot(reader, instanceId, name);
  if (!found) throw fault.notFound('Instance snapshot not found');
  return found;
}

/** Snapshots on a member whose time is over. */
export function expiredSnapshots(reader: Reader, memberId: number, now: Date): { project: string; instance: string; snapshot: string }[] {
  return reader.all(
    `SELECT i.project, i.name AS instance, s.name AS snapshot FROM instance_snapshots s JOIN instances i ON i.id = s.instance_id
     WHERE s.expires_at <> '' AND s.expires_at <= ? AND i.member_id = ? ORDER BY s.expires_at`,
    now.toISOString(),
    memberId,
  );
}

/** The project of an instance's profiles. */
export const profileProject = (reader: Reader, project: string): string => effectiveProject(reader, project, 'features.profiles');

/** The fields that ETags cover; profiles whole, so that a change of a profile invalidates a client's copy. */
export const instanceEtag = (record: InstanceRecord): unknown => [
  record.architecture,
  record.config,
  record.devices,
  record.ephemeral,
  record.profiles,
  record.expandedConfig,
  record.expandedDevices,
];
export const snapshotEtag = (record: SnapshotRecord): unknown => [record.expiresAt];
