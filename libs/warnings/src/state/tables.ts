import { Column, Entity, Index, PrimaryColumn, type Migration } from '#replica/state';

/** One warning about one thing on one member; said again it counts up. */
@Entity('warnings')
@Index('warnings_subject', ['member', 'project', 'entityUrl', 'type'], { unique: true })
@Index('warnings_uuid', ['uuid'], { unique: true })
export class WarningRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text')
  uuid: string;

  /** Name of the member; `none` when standalone, '' for the cluster as a whole. */
  @Column('text')
  member: string;

  /** '' when it belongs to none. */
  @Column('text')
  project: string;

  /** URL of what it is about; '' when it is about the member. */
  @Column('text', { name: 'entity_url' })
  entityUrl: string;

  @Column('integer')
  type: number;

  @Column('integer')
  status: number;

  @Column('text', { name: 'first_seen' })
  firstSeen: string;

  @Column('text', { name: 'last_seen' })
  lastSeen: string;

  /** When its status was last changed. */
  @Column('text')
  updated: string;

  @Column('text')
  message: string;

  @Column('integer')
  count: number;
}

export const warningMigrations: Migration[] = [
  {
    name: 'warnings-1',
    sql: [
      `CREATE TABLE warnings (
         id INTEGER PRIMARY KEY NOT NULL, uuid TEXT NOT NULL, member TEXT NOT NULL, project TEXT NOT NULL, entity_url TEXT NOT NULL, type INTEGER NOT NULL,
         status INTEGER NOT NULL, first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, updated TEXT NOT NULL, message TEXT NOT NULL, count INTEGER NOT NULL)`,
      `CREATE UNIQUE INDEX warnings_uuid ON warnings (uuid)`,
      `CREATE UNIQUE INDEX warnings_subject ON warnings (member, project, entity_url, type)`,
    ],
  },
];
