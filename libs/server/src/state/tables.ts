import { Column, Entity, PrimaryColumn, type Migration } from '#replica/state';

/** Global keys only: those of scope 'member' are in each member's local.db. */
@Entity('server_config')
export class ServerConfigRow {
  @PrimaryColumn('text')
  key: string;

  @Column('text')
  value: string;
}

export const serverMigrations: Migration[] = [
  { name: 'server-1', sql: ['CREATE TABLE server_config (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)'] },
];
