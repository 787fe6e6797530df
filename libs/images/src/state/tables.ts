import { Column, Entity, Index, PrimaryColumn, type Migration } from '#replica/state';

@Entity('images')
@Index('images_project_fingerprint', ['project', 'fingerprint'], { unique: true })
export class ImageRow {
  @PrimaryColumn('integer')
  id: number;

  /** Name of the project that has it; the file is one, however many projects do. */
  @Column('text')
  project: string;

  @Column('text')
  fingerprint: string;

  @Column('text')
  filename: string;

  @Column('integer')
  size: number;

  @Column('integer')
  public: number;

  @Column('integer', { name: 'auto_update' })
  autoUpdate: number;

  @Column('text')
  architecture: string;

  @Column('text')
  type: string;

  /** Fetched because an instance needed it, and removed when unused for a while. */
  @Column('integer')
  cached: number;

  @Column('text', { name: 'created_at' })
  createdAt: string;

  /** '': never. */
  @Column('text', { name: 'expires_at' })
  expiresAt: string;

  /** '': not yet. */
  @Column('text', { name: 'last_used_at' })
  lastUsedAt: string;

  @Column('text', { name: 'uploaded_at' })
  uploadedAt: string;

  @Column('simple-json')
  properties: Record<string, string>;

  /** Where it came from, as JSON; '' for an upload. */
  @Column('text')
  source: string;
}

/** Which members have an image's files. */
@Entity('images_members')
export class ImageMemberRow {
  @PrimaryColumn('text')
  fingerprint: string;

  @PrimaryColumn('integer', { name: 'member_id' })
  memberId: number;
}

@Entity('images_aliases')
@Index('images_aliases_project_name', ['project', 'name'], { unique: true })
export class ImageAliasRow {
  @PrimaryColumn('integer')
  id: number;

  @Column('text')
  project: string;

  @Column('text')
  name: string;

  @Column('integer', { name: 'image_id' })
  imageId: number;

  @Column('text')
  description: string;
}

/** Profiles that instances of the image get; one that is gone is passed over. */
@Entity('images_profiles')
export class ImageProfileRow {
  @PrimaryColumn('integer', { name: 'image_id' })
  imageId: number;

  @PrimaryColumn('integer', { name: 'profile_id' })
  profileId: number;
}

export const imageMigrations: Migration[] = [
  {
    name: 'images-1',
    sql: [
      `CREATE TABLE images (id INTEGER PRIMARY KEY NOT NULL, project TEXT NOT NULL, fingerprint TEXT NOT NULL, filename TEXT NOT NULL, size INTEGER NOT NULL, public INTEGER NOT NULL, auto_update INTEGER NOT NULL, architecture TEXT NOT NULL, type TEXT NOT NULL, cached INTEGER NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL, last_used_at TEXT NOT NULL, uploaded_at TEXT NOT NULL, properties TEXT NOT NULL, source TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX images_project_fingerprint ON images (project, fingerprint)`,
      `CREATE INDEX images_fingerprint ON images (fingerprint)`,
      `CREATE TABLE images_members (fingerprint TEXT NOT NULL, member_id INTEGER NOT NULL, PRIMARY KEY (fingerprint, member_id))`,
      `CREATE TABLE images_aliases (id INTEGER PRIMARY KEY NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE, description TEXT NOT NULL)`,
      `CREATE UNIQUE INDEX images_aliases_project_name ON images_aliases (project, name)`,
      `CREATE INDEX images_aliases_image ON images_aliases (image_id)`,
      `CREATE TABLE images_profiles (image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE, profile_id INTEGER NOT NULL, PRIMARY KEY (image_id, profile_id))`,
    ],
  },
];
