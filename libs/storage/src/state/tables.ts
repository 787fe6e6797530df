import { Column, Entity, Index, PrimaryColumn, type Migration } from '#replica/state';
import type { ContentType, VolumeType } from '../model/index.js';

/** pending: defined, or being made; removing: no new volumes, its data is going. */
export type PoolState = 'pending' | 'created' | 'errored' | 'removing';

@Entity('storage_pools')
export class StoragePoolRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text', { unique: true })
  name: string;

  @Column('text')
  driver: string;

  @Column('text')
  description: string;

  /** Without the keys that each member has for itself. */
  @Column('simple-json')
  config: Record<string, string>;

  @Column('text')
  state: PoolState;
}

/** What a pool is on one member. */
@Entity('storage_pool_members')
export class StoragePoolMemberRow {
  @PrimaryColumn('integer', { name: 'pool_id' })
  poolId: number;

  @PrimaryColumn('integer', { name: 'member_id' })
  memberId: number;

  @Column('simple-json')
  config: Record<string, string>;

  @Column('text')
  state: PoolState;
}

@Entity('storage_volumes')
@Index('storage_volumes_place', ['poolId', 'type', 'project', 'name', 'memberId'], { unique: true })
export class StorageVolumeRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('integer', { name: 'pool_id' })
  poolId: number;

  /** The member that has it; 0 for pools that every member sees. */
  @Column('integer', { name: 'member_id' })
  memberId: number;

  @Column('text')
  project: string;

  @Column('text')
  type: VolumeType;

  @Column('text')
  name: string;

  @Column('text', { name: 'content_type' })
  contentType: ContentType;

  @Column('text')
  description: string;

  @Column('simple-json')
  config: Record<string, string>;

  @Column('text', { name: 'created_at' })
  createdAt: string;
}

@Entity('storage_volume_snapshots')
@Index('storage_volume_snapshots_name', ['volumeId', 'name'], { unique: true })
export class StorageVolumeSnapshotRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('integer', { name: 'volume_id' })
  volumeId: number;

  @Column('text')
  name: string;

  @Column('text')
  description: string;

  @Column('simple-json')
  config: Record<string, string>;

  @Column('text', { name: 'created_at' })
  createdAt: string;

  /** '': never. */
  @Column('text', { name: 'expires_at' })
  expiresAt: string;
}

export const storageMigrations: Migration[] = [
  {
    name: 'storage-1',
    sql: [
      `CREATE TABLE storage_pools (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL, description TEXT NOT NULL, config TEXT NOT NULL, state TEXT NOT NULL)`,
      `CREATE TABLE storage_pool_members (pool_id INTEGER NOT NULL REFERENCES storage_pools (id) ON DELETE CASCADE, member_id INTEGER NOT NULL, config TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (pool_id, member_id))`,
      `CREATE TABLE storage_volumes (id INTEGER PRIMARY KEY NOT NULL, pool_id INTEGER NOT NULL REFERENCES storage_pools (id), member_id INTEGER NOT NULL, project TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, content_type TEXT NOT NULL, description TEXT NOT NULL, config TEXT NOT NULL, created_at TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX storage_volumes_place ON storage_volumes (pool_id, type, project, name, member_id)`,
      `CREATE TABLE storage_volume_snapshots (id INTEGER PRIMARY KEY NOT NULL, volume_id INTEGER NOT NULL REFERENCES storage_volumes (id) ON DELETE CASCADE, name TEXT NOT NULL, description TEXT NOT NULL, config TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX storage_volume_snapshots_name ON storage_volume_snapshots (volume_id, name)`,
      `CREATE INDEX storage_volume_snapshots_expiry ON storage_volume_snapshots (expires_at) WHERE expires_at <> ''`,
    ],
  },
];
