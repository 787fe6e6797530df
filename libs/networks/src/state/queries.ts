import type { ConfigMap } from '#api-contract';
import { fault } from '#kit';
import type { Reader } from '#replica/state';
import type { ManagedNetwork, NetworkStatus } from '../model/index.js';

export interface NetworkRecord extends ManagedNetwork {
  description: string;
  /** By member id. */
  members: Map<number, { status: NetworkStatus; config: ConfigMap }>;
}

interface Row {
  id: number;
  project: string;
  name: string;
  type: string;
  description: string;
  config: string;
}

const columns = 'SELECT id, project, name, type, description, config FROM networks';

function complete(reader: Reader, row: Row): NetworkRecord {
  const members = reader.all<{ member: number; status: NetworkStatus; config: string }>(
    'SELECT member, status, config FROM network_members WHERE network = ? ORDER BY member',
    row.id,
  );
  return {
    ...row,
    config: JSON.parse(row.config) as ConfigMap,
    members: new Map(members.map(({ member, status, config }) => [member, { status, config: JSON.parse(config) as ConfigMap }])),
  };
}

/** Of one effective project, by name; of all without one. */
export function networks(reader: Reader, project?: string): NetworkRecord[] {
  const rows =
    project === undefined
      ? reader.all<Row>(`${columns} ORDER BY project, name`)
      : reader.all<Row>(`${columns} WHERE project = ? ORDER BY name`, project);
  return rows.map((row) => complete(reader, row));
}

export function findNetwork(reader: Reader, project: string, name: string): NetworkRecord | undefined {
  const row = reader.get<Row>(`${columns} WHERE project = ? AND name = ?`, project, name);
  return row && complete(reader, row);
}

/** @throws Fault notFound */
export function network(reader: Reader, project: string, name: string): NetworkRecord {
  const found = findNetwork(reader, project, name);
  if (!found) throw fault.notFound('Network not found');
  return found;
}

export function networkById(reader: Reader, id: number): NetworkRecord | undefined {
  const row = reader.get<Row>(`${columns} WHERE id = ?`, id);
  return row && complete(reader, row);
}

/** As one member has it: its own values over the common ones. Undefined when the network is not for that member. */
export function networkOn(record: NetworkRecord, member: number): ManagedNetwork | undefined {
  const own = record.members.get(member);
  if (!own) return undefined;
  const { id, project, name, type, config } = record;
  return { id, project, name, type, config: { ...config, ...own.config } };
}

/** Of the network as a whole: what the worst of its members says. */
export function networkStatus(record: NetworkRecord): NetworkStatus {
  const all = [...record.members.values()].map(({ status }) => status);
  return (['Errored', 'Pending', 'Unavailable'] as const).find((status) => all.includes(status)) ?? 'Created';
}
