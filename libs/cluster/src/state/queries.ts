import { fault } from '#kit';
import type { Reader } from '#replica/state';
import { raftRole, type RaftMembers, type RaftRole } from '../model/index.js';
import type { MemberState } from './tables.js';

export interface MemberRecord {
  id: number;
  name: string;
  address: string;
  description: string;
  failureDomain: string;
  roles: string[];
  config: Record<string, string>;
  architecture: string;
  state: MemberState;
  groups: string[];
}

export interface GroupRecord {
  id: number;
  name: string;
  description: string;
  /** Names. */
  members: string[];
}

interface Row {
  id: number;
  name: string;
  address: string;
  description: string;
  failure_domain: string;
  roles: string;
  config: string;
  architecture: string;
  state: MemberState;
}

const fromRow = (reader: Reader, { failure_domain, roles, config, ...row }: Row): MemberRecord => ({
  ...row,
  failureDomain: failure_domain,
  roles: JSON.parse(roles) as string[],
  config: JSON.parse(config) as Record<string, string>,
  groups: reader
    .all<{ name: string }>(
      'SELECT g.name FROM cluster_groups g JOIN cluster_group_members m ON m.group_id = g.id WHERE m.member_id = ? ORDER BY g.id',
      row.id,
    )
    .map(({ name }) => name),
});

const columns = 'id, name, address, description, failure_domain, roles, config, architecture, state';

export const isClustered = (reader: Reader): boolean => reader.get('SELECT 1 FROM cluster_members LIMIT 1') !== undefined;

/** All but those that are just joining, by name. */
export function members(reader: Reader): MemberRecord[] {
  return reader.all<Row>(`SELECT ${columns} FROM cluster_members WHERE state <> 'joining' ORDER BY name`).map((row) => fromRow(reader, row));
}

export function findMember(reader: Reader, name: string): MemberRecord | undefined {
  const row = reader.get<Row>(`SELECT ${columns} FROM cluster_members WHERE name = ? AND state <> 'joining'`, name);
  return row && fromRow(reader, row);
}

/** @throws Fault notFound */
export function member(reader: Reader, name: string): MemberRecord {
  const found = findMember(reader, name);
  if (!found) throw fault.notFound('Cluster member not found');
  return found;
}

/** Name of a member, as `location` shows it: `none` where there is no cluster. */
export function memberName(reader: Reader, id: number): string {
  return reader.get<{ name: string }>('SELECT name FROM cluster_members WHERE id = ?', id)?.name ?? 'none';
}

/** Where each member is reached, joining ones too: what consensus needs. */
export function memberAddresses(reader: Reader): { id: number; name: string; address: string; state: MemberState }[] {
  return reader.all('SELECT id, name, address, state FROM cluster_members ORDER BY id');
}

/** The configuration of consensus, as applied here. */
export function raftConfiguration(reader: Reader): RaftMembers {
  const { configuration } = reader.get<{ configuration: string }>('SELECT configuration FROM meta')!;
  // Empty where there is no consensus: in tests.
  return { voters: [], learners: [], spares: [], ...(JSON.parse(configuration) as Partial<RaftMembers>) };
}

export const raftRoleOf = (reader: Reader, id: number): RaftRole | undefined => raftRole(raftConfiguration(reader), id);

/** What a member's ETag covers: what PUT can change, without the roles that consensus gives and takes. */
export const memberEtag = ({ roles, failureDomain, description, config, groups }: Omit<MemberRecord, 'id' | 'name' | 'address'>): unknown => [
  roles,
  failureDomain,
  description,
  config,
  groups,
];

export function groups(reader: Reader): GroupRecord[] {
  return reader
    .all<{ id: number; name: string; description: string }>('SELECT id, name, description FROM cluster_groups ORDER BY name')
    .map((row) => ({ ...row, members: membersOf(reader, row.id) }));
}

export function findGroup(reader: Reader, name: string): GroupRecord | undefined {
  const row = reader.get<{ id: number; name: string; description: string }>('SELECT id, name, description FROM cluster_groups WHERE name = ?', name);
  return row && { ...row, members: membersOf(reader, row.id) };
}

/** @throws Fault notFound */
export function group(reader: Reader, name: string): GroupRecord {
  const found = findGroup(reader, name);
  if (!found) throw fault.notFound('Cluster group not found');
  return found;
}

export const groupEtag = ({ description, members: names }: Pick<GroupRecord, 'description' | 'members'>): unknown => [description, names];

function membersOf(reader: Reader, groupId: number): string[] {
  return reader
    .all<{ name: string }>(
      'SELECT m.name FROM cluster_members m JOIN cluster_group_members g ON g.member_id = m.id WHERE g.group_id = ? ORDER BY m.name',
      groupId,
    )
    .map(({ name }) => name);
}
