import type { ConfigMap, DevicesMap, ProfilePut } from '#api-contract';
import { fault } from '#kit';
import type { Reader } from '#replica/state';

export interface ProfileRecord extends ProfilePut {
  id: number;
  project: string;
  name: string;
}

interface Row {
  id: number;
  project: string;
  name: string;
  description: string;
  config: string;
  devices: string;
}

const columns = 'id, project, name, description, config, devices';
const fromRow = (row: Row): ProfileRecord => ({
  ...row,
  config: JSON.parse(row.config) as ConfigMap,
  devices: JSON.parse(row.devices) as DevicesMap,
});

/** `project` is the effective one (see effectiveProject). */
export function profiles(reader: Reader, project: string): ProfileRecord[] {
  return reader.all<Row>(`SELECT ${columns} FROM profiles WHERE project = ? ORDER BY name`, project).map(fromRow);
}

export function findProfile(reader: Reader, project: string, name: string): ProfileRecord | undefined {
  const row = reader.get<Row>(`SELECT ${columns} FROM profiles WHERE project = ? AND name = ?`, project, name);
  return row && fromRow(row);
}

/** @throws Fault notFound */
export function profile(reader: Reader, project: string, name: string): ProfileRecord {
  const found = findProfile(reader, project, name);
  if (!found) throw fault.notFound('Profile not found');
  return found;
}

/** The profiles of an instance, in its order. @throws Fault notFound for one that does not exist */
export function profilesNamed(reader: Reader, project: string, names: readonly string[]): ProfileRecord[] {
  return names.map((name) => {
    const found = findProfile(reader, project, name);
    if (!found) throw fault.invalid(`Requested profile "${name}" doesn't exist`);
    return found;
  });
}
