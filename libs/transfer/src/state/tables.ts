import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { Migration } from '#replica/state';

/** A backup of an instance, kept in a file of the member that has the instance. It goes with its instance. */
@Entity('instance_backups')
@Index('instance_backups_name', ['instanceId', 'name'], { unique: true })
export class InstanceBackupRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('integer', { name: 'instance_id' })
  instanceId: number;

  @Column('text')
  name: string;

  @Column('text', { name: 'created_at' })
  createdAt: string;

  /** '': never. */
  @Column('text', { name: 'expires_at' })
  expiresAt: string;

  /** Without its snapshots. */
  @Column('integer')
  only: number;

  @Column('integer')
  optimized: number;
}

/** The same of a custom volume. */
@Entity('volume_backups')
@Index('volume_backups_name', ['volumeId', 'name'], { unique: true })
export class VolumeBackupRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('integer', { name: 'volume_id' })
  volumeId: number;

  @Column('text')
  name: string;

  @Column('text', { name: 'created_at' })
  createdAt: string;

  @Column('text', { name: 'expires_at' })
  expiresAt: string;

  @Column('integer')
  only: number;

  @Column('integer')
  optimized: number;
}

const ddl = (table: string, owner: string, owners: string): string[] => [
  `CREATE TABLE ${table} (id INTEGER PRIMARY KEY NOT NULL, ${owner} INTEGER NOT NULL REFERENCES ${owners} (id) ON DELETE CASCADE, name TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL, only INTEGER NOT NULL, optimized INTEGER NOT NULL)`,
  `CREATE UNIQUE INDEX ${table}_name ON ${table} (${owner}, name)`,
  `CREATE INDEX ${table}_expiry ON ${table} (expires_at) WHERE expires_at <> ''`,
];

export const transferMigrations: Migration[] = [
  { name: 'transfer-1', sql: [...ddl('instance_backups', 'instance_id', 'instances'), ...ddl('volume_backups', 'volume_id', 'storage_volumes')] },
];
