import { Column, Entity, Index, PrimaryColumn, type Migration } from '#replica/state';

/** `joining`: counted by consensus already, and not yet shown. */
export type MemberState = 'joining' | 'created' | 'evacuated';

/** The members of the cluster. None: the server stands alone. The id is the one by which consensus knows it. */
@Entity('cluster_members')
@Index('cluster_members_name', ['name'], { unique: true })
@Index('cluster_members_address', ['address'], { unique: true })
export class ClusterMemberRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text')
  name: string;

  /** `host:port` at which the other members reach it. */
  @Column('text')
  address: string;

  @Column('text')
  description: string;

  @Column('text', { name: 'failure_domain' })
  failureDomain: string;

  /** Those that were given to it. */
  @Column('simple-json')
  roles: string[];

  @Column('simple-json')
  config: Record<string, string>;

  @Column('text')
  architecture: string;

  @Column('text')
  state: MemberState;

  @Column('text', { name: 'joined_at' })
  joinedAt: string;
}

@Entity('cluster_groups')
@Index('cluster_groups_name', ['name'], { unique: true })
export class ClusterGroupRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text')
  name: string;

  @Column('text')
  description: string;
}

@Entity('cluster_group_members')
export class ClusterGroupMemberRow {
  @PrimaryColumn('integer', { name: 'group_id' })
  groupId: number;

  @PrimaryColumn('integer', { name: 'member_id' })
  memberId: number;
}

export const clusterMigrations: Migration[] = [
  {
    name: 'cluster-1',
    sql: [
      `CREATE TABLE cluster_members (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL, description TEXT NOT NULL, failure_domain TEXT NOT NULL, roles TEXT NOT NULL, config TEXT NOT NULL, architecture TEXT NOT NULL, state TEXT NOT NULL, joined_at TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX cluster_members_name ON cluster_members (name)`,
      `CREATE UNIQUE INDEX cluster_members_address ON cluster_members (address)`,
      `CREATE TABLE cluster_groups (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX cluster_groups_name ON cluster_groups (name)`,
      `CREATE TABLE cluster_group_members (group_id INTEGER NOT NULL REFERENCES cluster_groups (id) ON DELETE CASCADE, member_id INTEGER NOT NULL REFERENCES cluster_members (id) ON DELETE CASCADE, PRIMARY KEY (group_id, member_id))`,
      `INSERT INTO cluster_groups (id, name, description) VALUES (1, 'default', 'Default cluster group')`,
      `INSERT INTO sequences (name, last) VALUES ('cluster_groups', 1)`,
      // The member that begins a cluster is 1 in every case.
      `INSERT INTO sequences (name, last) VALUES ('members', 1)`,
    ],
  },
];
