import type { DevicesMap } from '#api-contract';
import { Column, Entity, Index, PrimaryColumn, type Migration } from '#replica/state';

@Entity('profiles')
@Index('profiles_project_name', ['project', 'name'], { unique: true })
export class ProfileRow {
  @PrimaryColumn('integer')
  id: number;

  /** Name of the project that owns it. */
  @Column('text')
  project: string;

  @Column('text')
  name: string;

  @Column('text')
  description: string;

  @Column('simple-json')
  config: Record<string, string>;

  @Column('simple-json')
  devices: DevicesMap;
}

export const profileMigrations: Migration[] = [
  {
    name: 'profiles-1',
    sql: [
      `CREATE TABLE profiles (id INTEGER PRIMARY KEY NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, config TEXT NOT NULL, devices TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX profiles_project_name ON profiles (project, name)`,
      `INSERT INTO profiles (id, project, name, description, config, devices) VALUES (1, 'default', 'default', 'Default LXD profile', '{}', '{}')`,
      `INSERT INTO sequences (name, last) VALUES ('profiles', 1)`,
      `INSERT INTO entity_references (target, user, url) VALUES ('project/default', 'profile/1', '/1.0/profiles/default')`,
    ],
  },
];
