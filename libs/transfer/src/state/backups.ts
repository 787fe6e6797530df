import { apiUrl } from '#api-contract';
import { fault } from '#kit';
import { type Command, type CommandContext, defineCommand, type Reader } from '#replica/state';
import { checkBackupName } from '../model/index.js';

/** What a backup is of. Rows of the two kinds have the same shape in tables of their own. */
export type BackupKind = 'instance' | 'volume';

export interface BackupRecord {
  id: number;
  kind: BackupKind;
  /** Of the instance or volume. */
  ownerId: number;
  name: string;
  createdAt: string;
  /** '': never. */
  expiresAt: string;
  /** Without snapshots. */
  only: boolean;
  optimized: boolean;
}

/** A backup with what its file's path needs. */
export interface PlacedBackup extends BackupRecord {
  project: string;
  /** Of the instance or volume. */
  owner: string;
  /** Of a volume; '' for an instance. */
  pool: string;
}

interface Row {
  id: number;
  owner_id: number;
  name: string;
  created_at: string;
  expires_at: string;
  only: number;
  optimized: number;
}

const kinds = {
  instance: { table: 'instance_backups', owner: 'instance_id', missing: 'Load backup from database: Instance backup not found' },
  volume: { table: 'volume_backups', owner: 'volume_id', missing: 'Storage volume backup not found' },
} as const;

const columns = (kind: BackupKind): string => `b.id, b.${kinds[kind].owner} AS owner_id, b.name, b.created_at, b.expires_at, b.only, b.optimized`;

const fromRow = (kind: BackupKind, row: Row): BackupRecord => ({
  id: row.id,
  kind,
  ownerId: row.owner_id,
  name: row.name,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  only: row.only === 1,
  optimized: row.optimized === 1,
});

/** In the order they were made. */
export function backups(reader: Reader, kind: BackupKind, ownerId: number): BackupRecord[] {
  const { table, owner } = kinds[kind];
  return reader.all<Row>(`SELECT ${columns(kind)} FROM ${table} b WHERE b.${owner} = ? ORDER BY b.id`, ownerId).map((row) => fromRow(kind, row));
}

export function findBackup(reader: Reader, kind: BackupKind, ownerId: number, name: string): BackupRecord | undefined {
  const { table, owner } = kinds[kind];
  const row = reader.get<Row>(`SELECT ${columns(kind)} FROM ${table} b WHERE b.${owner} = ? AND b.name = ?`, ownerId, name);
  return row && fromRow(kind, row);
}

/** @throws Fault notFound */
export function backup(reader: Reader, kind: BackupKind, ownerId: number, name: string): BackupRecord {
  const found = findBackup(reader, kind, ownerId, name);
  if (!found) throw fault.notFound(kinds[kind].missing);
  return found;
}

interface PlacedRow extends Row {
  project: string;
  owner: string;
  pool: string;
}

/** All backups whose files this member has, and with `now` only those whose time is over. */
export function backupsOn(reader: Reader, memberId: number, now?: Date): PlacedBackup[] {
  const expired = now ? ` AND b.expires_at <> '' AND b.expires_at <= ?` : '';
  const values = [memberId, ...(now ? [now.toISOString()] : [])];
  const placed = (kind: BackupKind, place: string, from: string): PlacedBackup[] =>
    reader
      .all<PlacedRow>(
        `SELECT ${columns(kind)}, ${place} FROM ${kinds[kind].table} b ${from} WHERE o.member_id IN (0, ?)${expired} ORDER BY b.id`,
        ...values,
      )
      .map((row) => ({ ...fromRow(kind, row), project: row.project, owner: row.owner, pool: row.pool }));
  return [
    ...placed('instance', `o.project, o.name AS owner, '' AS pool`, 'JOIN instances o ON o.id = b.instance_id'),
    ...placed(
      'volume',
      `o.project, o.name AS owner, p.name AS pool`,
      'JOIN storage_volumes o ON o.id = b.volume_id JOIN storage_pools p ON p.id = o.pool_id',
    ),
  ];
}

/** Where a backup is found in the API; also the source of its lifecycle events. */
export const backupUrl = ({ kind, project, owner, pool }: Pick<PlacedBackup, 'kind' | 'project' | 'owner' | 'pool'>, name: string): string =>
  apiUrl(kind === 'instance' ? ['instances', owner, 'backups', name] : ['storage-pools', pool, 'volumes', 'custom', owner, 'backups', name], project);

function placed(reader: Reader, kind: BackupKind, id: number): PlacedBackup | undefined {
  const { table, owner } = kinds[kind];
  const from =
    kind === 'instance'
      ? `SELECT ${columns(kind)}, o.project, o.name AS owner, '' AS pool FROM ${table} b JOIN instances o ON o.id = b.${owner}`
      : `SELECT ${columns(kind)}, o.project, o.name AS owner, p.name AS pool FROM ${table} b JOIN storage_volumes o ON o.id = b.${owner} JOIN storage_pools p ON p.id = o.pool_id`;
  const row = reader.get<PlacedRow>(`${from} WHERE b.id = ?`, id);
  return row && { ...fromRow(kind, row), project: row.project, owner: row.owner, pool: row.pool };
}

export interface NewBackup {
  kind: BackupKind;
  ownerId: number;
  name: string;
  /** '' or RFC 3339. */
  expiresAt: string;
  only: boolean;
  optimized: boolean;
}

/** Before its file is written; `deleteBackup` with `quiet` takes it back. @returns its id, which names the file */
export const createBackup: Command<NewBackup, { id: number }> = defineCommand({
  name: 'transfer.createBackup',
  run(ctx, { kind, ownerId, name, expiresAt, only, optimized }) {
    const { table, owner } = kinds[kind];
    checkBackupName(name);
    if (findBackup(ctx.sql, kind, ownerId, name)) throw fault.conflict(`Backup "${name}" already exists`);
    const id = ctx.nextId(table);
    ctx.sql.run(
      `INSERT INTO ${table} (id, ${owner}, name, created_at, expires_at, only, optimized) VALUES (?, ?, ?, ?, ?, ?, ?)`,
      id,
      ownerId,
      name,
      ctx.now.toISOString(),
      expiresAt,
      Number(only),
      Number(optimized),
    );
    return { id };
  },
});

interface Named {
  kind: BackupKind;
  id: number;
}

/** Its file is whole: the event that says so. */
export const backupMade: Command<Named> = defineCommand({
  name: 'transfer.backupMade',
  run(ctx, { kind, id }) {
    const made = placed(ctx.sql, kind, id);
    // Its owner went meanwhile, and it with that.
    if (!made) throw fault.notFound(kinds[kind].missing);
    emit(ctx, 'created', made, made.name);
  },
});

export const renameBackup: Command<Named & { newName: string }> = defineCommand({
  name: 'transfer.renameBackup',
  run(ctx, { kind, id, newName }) {
    const before = placed(ctx.sql, kind, id);
    if (!before) throw fault.notFound(kinds[kind].missing);
    checkBackupName(newName);
    if (findBackup(ctx.sql, kind, before.ownerId, newName)) throw fault.conflict(`Backup "${newName}" already exists`);
    ctx.sql.run(`UPDATE ${kinds[kind].table} SET name = ? WHERE id = ?`, newName, id);
    emit(ctx, 'renamed', before, newName, { old_name: before.name });
  },
});

/** Nothing there is success. */
export const deleteBackup: Command<Named & { quiet?: boolean }> = defineCommand({
  name: 'transfer.deleteBackup',
  run(ctx, { kind, id, quiet = false }) {
    const before = placed(ctx.sql, kind, id);
    if (!before) return;
    ctx.sql.run(`DELETE FROM ${kinds[kind].table} WHERE id = ?`, id);
    if (!quiet) emit(ctx, 'deleted', before, before.name);
  },
});

function emit(ctx: CommandContext, what: string, of: PlacedBackup, name: string, context?: Record<string, unknown>): void {
  const action = of.kind === 'instance' ? `instance-backup-${what}` : `storage-volume-backup-${what}`;
  ctx.emit({ action, source: backupUrl(of, name), project: of.project, context });
}
