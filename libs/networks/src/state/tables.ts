import type { ConfigMap } from '#api-contract';
import { Column, Entity, PrimaryColumn, type Migration } from '#replica/state';
import type { NetworkStatus } from '../model/index.js';

@Entity('networks')
export class NetworkRow {
  @PrimaryColumn('integer')
  id: number;

  /** The effective one. */
  @Column('text')
  project: string;

  @Column('text')
  name: string;

  @Column('text')
  type: string;

  @Column('text')
  description: string;

  /** Values that are the same on every member. */
  @Column('simple-json')
  config: ConfigMap;
}

/** A network on one member: whether it was made there, and the values of the keys that are the member's own. */
@Entity('network_members')
export class NetworkMemberRow {
  @PrimaryColumn('integer')
  network: number;

  @PrimaryColumn('integer')
  member: number;

  @Column('text')
  status: NetworkStatus;

  @Column('simple-json')
  config: ConfigMap;
}

export const networkMigrations: Migration[] = [
  {
    name: 'networks-1',
    sql: [
      `CREATE TABLE networks (id INTEGER PRIMARY KEY NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, description TEXT NOT NULL, config TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX networks_project_name ON networks (project, name)`,
      `CREATE TABLE network_members (network INTEGER NOT NULL, member INTEGER NOT NULL, status TEXT NOT NULL, config TEXT NOT NULL, PRIMARY KEY (network, member))`,
    ],
  },
];
