import { Column, Entity, PrimaryColumn, type Migration } from '#replica/state';

@Entity('projects')
export class ProjectRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text', { unique: true })
  name: string;

  @Column('text')
  description: string;

  @Column('simple-json')
  config: Record<string, string>;
}

/**
 * Who uses what: one row a pair. `target` is `profile/PROJECT/NAME`, `pool/NAME` …; `user` is `instance/17`, so that it survives a rename of the
 * user; `url` is what used_by shows. Kept by the handler that changes the user, so that used_by is a query and never a scan.
 */
@Entity('entity_references')
export class ReferenceRow {
  @PrimaryColumn('text')
  target: string;

  @PrimaryColumn('text')
  user: string;

  @Column('text')
  url: string;
}

const shareNothing = JSON.stringify({
  'features.images': 'true',
  'features.networks': 'true',
  'features.profiles': 'true',
  'features.storage.volumes': 'true',
});

export const projectMigrations: Migration[] = [
  {
    name: 'projects-1',
    sql: [
      `CREATE TABLE projects (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, config TEXT NOT NULL)`,
      `INSERT INTO projects (id, name, description, config) VALUES (1, 'default', 'Default LXD project', '${shareNothing}')`,
      `INSERT INTO sequences (name, last) VALUES ('projects', 1)`,
      `CREATE TABLE entity_references (target TEXT NOT NULL, user TEXT NOT NULL, url TEXT NOT NULL, PRIMARY KEY (target, user))`,
      `CREATE INDEX entity_references_user ON entity_references (user)`,
    ],
  },
];
