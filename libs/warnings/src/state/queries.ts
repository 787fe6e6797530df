import type { Reader } from '#replica/state';

export interface WarningRecord {
  id: number;
  uuid: string;
  member: string;
  project: string;
  entityUrl: string;
  type: number;
  status: number;
  firstSeen: string;
  lastSeen: string;
  updated: string;
  message: string;
  count: number;
}

const columns =
  'id, uuid, member, project, entity_url AS entityUrl, type, status, first_seen AS firstSeen, last_seen AS lastSeen, updated, message, count';

/** Oldest first; those of one project, or all. */
export function warnings(reader: Reader, project?: string): WarningRecord[] {
  return project === undefined
    ? reader.all(`SELECT ${columns} FROM warnings ORDER BY id`)
    : reader.all(`SELECT ${columns} FROM warnings WHERE project = ? ORDER BY id`, project);
}

export function findWarning(reader: Reader, uuid: string): WarningRecord | undefined {
  return reader.get(`SELECT ${columns} FROM warnings WHERE uuid = ?`, uuid);
}

/** What a warning is about: one row each. */
export interface WarningSubject {
  member: string;
  project: string;
  entityUrl: string;
  type: number;
}

export function warningAbout(reader: Reader, { member, project, entityUrl, type }: WarningSubject): WarningRecord | undefined {
  return reader.get(
    `SELECT ${columns} FROM warnings WHERE member = ? AND project = ? AND entity_url = ? AND type = ?`,
    member,
    project,
    entityUrl,
    type,
  );
}
