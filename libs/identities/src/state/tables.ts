import { Column, Entity, PrimaryColumn, type Migration } from '#replica/state';
import type { CertificateType } from '../model/index.js';

@Entity('certificates')
export class CertificateRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text', { unique: true })
  fingerprint: string;

  @Column('text')
  type: CertificateType;

  @Column('text')
  name: string;

  /** PEM. */
  @Column('text')
  certificate: string;

  @Column('integer')
  restricted: number;
}

/** The projects that a restricted certificate may touch. */
@Entity('certificate_projects')
export class CertificateProjectRow {
  @PrimaryColumn('integer', { name: 'certificate_id' })
  certificateId: number;

  @PrimaryColumn('integer', { name: 'project_id' })
  projectId: number;
}

/**
 * Rows of certificate_projects point at projects by id, though projects is the higher subject: so a rename keeps access, and a new project of an old
 * name does not inherit any.
 */
export const identityMigrations: Migration[] = [
  {
    name: 'identities-1',
    sql: [
      `CREATE TABLE certificates (id INTEGER PRIMARY KEY NOT NULL, fingerprint TEXT NOT NULL UNIQUE, type TEXT NOT NULL, name TEXT NOT NULL,
         certificate TEXT NOT NULL, restricted INTEGER NOT NULL)`,
      `CREATE TABLE certificate_projects (
         certificate_id INTEGER NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
         project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
         PRIMARY KEY (certificate_id, project_id))`,
      `CREATE INDEX certificate_projects_project ON certificate_projects (project_id)`,
    ],
  },
];
