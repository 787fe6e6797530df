import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { ConfigMap, DevicesMap, InstanceType } from '#api-contract';
import type { Migration } from '#replica/state';

@Entity('instances')
@Index('instances_project_name', ['project', 'name'], { unique: true })
export class InstanceRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text')
  project: string;

  @Column('text')
  name: string;

  /** The member that has it and alone writes about it. */
  @Column('integer', { name: 'member_id' })
  memberId: number;

  /** Raised whenever it gets another owner: what an earlier owner still says is dropped. */
  @Column('integer')
  epoch: number;

  @Column('text')
  type: InstanceType;

  @Column('text')
  architecture: string;

  @Column('text')
  description: string;

  @Column('integer')
  ephemeral: number;

  @Column('integer')
  stateful: number;

  /** Its own, without what profiles give. */
  @Column('simple-json')
  config: ConfigMap;

  @Column('simple-json')
  devices: DevicesMap;

  /** LXD's status code, as its owner last said. */
  @Column('integer')
  status: number;

  @Column('text', { name: 'created_at' })
  createdAt: string;

  /** '': never started. */
  @Column('text', { name: 'last_used_at' })
  lastUsedAt: string;
}

@Entity('instance_profiles')
export class InstanceProfileRow {
  @PrimaryColumn('integer', { name: 'instance_id' })
  instanceId: number;

  /** Order in which profiles apply. */
  @PrimaryColumn('integer')
  position: number;

  @Column('integer', { name: 'profile_id' })
  profileId: number;
}

/** What an instance was when a snapshot of it was made. Its profiles are those that the instance has now. */
@Entity('instance_snapshots')
@Index('instance_snapshots_name', ['instanceId', 'name'], { unique: true })
export class InstanceSnapshotRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('integer', { name: 'instance_id' })
  instanceId: number;

  @Column('text')
  name: string;

  @Column('text')
  description: string;

  @Column('integer')
  ephemeral: number;

  @Column('integer')
  stateful: number;

  @Column('simple-json')
  config: ConfigMap;

  @Column('simple-json')
  devices: DevicesMap;

  @Column('text', { name: 'created_at' })
  createdAt: string;

  /** '': never. */
  @Column('text', { name: 'expires_at' })
  expiresAt: string;
}

export const instanceMigrations: Migration[] = [
  {
    name: 'instances-1',
    sql: [
      `CREATE TABLE instances (id INTEGER PRIMARY KEY NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, member_id INTEGER NOT NULL, epoch INTEGER NOT NULL, type TEXT NOT NULL, architecture TEXT NOT NULL, description TEXT NOT NULL, ephemeral INTEGER NOT NULL, stateful INTEGER NOT NULL, config TEXT NOT NULL, devices TEXT NOT NULL, status INTEGER NOT NULL, created_at TEXT NOT NULL, last_used_at TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX instances_project_name ON instances (project, name)`,
      `CREATE INDEX instances_member ON instances (member_id)`,
      `CREATE TABLE instance_profiles (instance_id INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE, position INTEGER NOT NULL, profile_id INTEGER NOT NULL REFERENCES profiles (id), PRIMARY KEY (instance_id, position))`,
      `CREATE INDEX instance_profiles_profile ON instance_profiles (profile_id)`,
      `CREATE TABLE instance_snapshots (id INTEGER PRIMARY KEY NOT NULL, instance_id INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE, name TEXT NOT NULL, description TEXT NOT NULL, ephemeral INTEGER NOT NULL, stateful INTEGER NOT NULL, config TEXT NOT NULL, devices TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX instance_snapshots_name ON instance_snapshots (instance_id, name)`,
      `CREATE INDEX instance_snapshots_expiry ON instance_snapshots (expires_at) WHERE expires_at <> ''`,
    ],
  },
];
