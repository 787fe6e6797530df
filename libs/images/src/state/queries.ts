import { epoch, type Image } from '#api-contract';
import { fault } from '#kit';
import type { Reader } from '#replica/state';
import { isFingerprintPrefix } from '../model/index.js';

export interface ImageSourceRecord {
  server: string;
  protocol: string;
  certificate: string;
  alias: string;
  image_type: string;
}

export interface ImageRecord {
  id: number;
  project: string;
  fingerprint: string;
  filename: string;
  size: number;
  public: boolean;
  autoUpdate: boolean;
  architecture: string;
  type: string;
  cached: boolean;
  createdAt: string;
  /** '': never. */
  expiresAt: string;
  /** '': not yet. */
  lastUsedAt: string;
  uploadedAt: string;
  properties: Record<string, string>;
  source?: ImageSourceRecord;
}

interface Row {
  id: number;
  project: string;
  fingerprint: string;
  filename: string;
  size: number;
  public: number;
  auto_update: number;
  architecture: string;
  type: string;
  cached: number;
  created_at: string;
  expires_at: string;
  last_used_at: string;
  uploaded_at: string;
  properties: string;
  source: string;
}

const select =
  'SELECT id, project, fingerprint, filename, size, public, auto_update, architecture, type, cached, created_at, expires_at, last_used_at, uploaded_at, properties, source FROM images';

const fromRow = (row: Row): ImageRecord => ({
  id: row.id,
  project: row.project,
  fingerprint: row.fingerprint,
  filename: row.filename,
  size: row.size,
  public: row.public === 1,
  autoUpdate: row.auto_update === 1,
  architecture: row.architecture,
  type: row.type,
  cached: row.cached === 1,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at,
  uploadedAt: row.uploaded_at,
  properties: JSON.parse(row.properties) as Record<string, string>,
  source: row.source === '' ? undefined : (JSON.parse(row.source) as ImageSourceRecord),
});

/** In all of these `project` is the effective one (features.images). */
export function images(reader: Reader, project: string, options: { publicOnly: boolean } = { publicOnly: false }): ImageRecord[] {
  const condition = options.publicOnly ? ' AND public = 1' : '';
  return reader.all<Row>(`${select} WHERE project = ?${condition} ORDER BY id`, project).map(fromRow);
}

/** By its fingerprint or a unique beginning of it. @throws Fault notFound, invalid when it is not unique */
export function image(reader: Reader, project: string, prefix: string, options: { publicOnly: boolean } = { publicOnly: false }): ImageRecord {
  if (!isFingerprintPrefix(prefix)) throw fault.notFound('Image not found');
  const condition = options.publicOnly ? ' AND public = 1' : '';
  // 'g' is the first letter after the hexadecimal digits.
  const rows = reader.all<Row>(
    `${select} WHERE project = ? AND fingerprint >= ? AND fingerprint < ?${condition} LIMIT 2`,
    project,
    prefix,
    `${prefix}g`,
  );
  if (rows.length > 1) throw fault.invalid('More than one image matches');
  if (!rows[0]) throw fault.notFound('Image not found');
  return fromRow(rows[0]);
}

export function findImage(reader: Reader, project: string, fingerprint: string): ImageRecord | undefined {
  const row = reader.get<Row>(`${select} WHERE project = ? AND fingerprint = ?`, project, fingerprint);
  return row && fromRow(row);
}

/** The same image in every project that has it. */
export function imagesEverywhere(reader: Reader, fingerprint: string): ImageRecord[] {
  return reader.all<Row>(`${select} WHERE fingerprint = ? ORDER BY id`, fingerprint).map(fromRow);
}

/** The newest image of a project that has all these properties. */
export function imageWithProperties(reader: Reader, project: string, wanted: Record<string, string>): ImageRecord | undefined {
  const has = (record: ImageRecord): boolean => Object.entries(wanted).every(([key, value]) => record.properties[key] === value);
  return images(reader, project)
    .filter(has)
    .sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))[0];
}

export function membersWithImage(reader: Reader, fingerprint: string): number[] {
  return reader
    .all<{ member_id: number }>('SELECT member_id FROM images_members WHERE fingerprint = ? ORDER BY member_id', fingerprint)
    .map(({ member_id }) => member_id);
}

/** Fingerprints that a member should have files of. */
export function fingerprintsOn(reader: Reader, memberId: number): string[] {
  return reader
    .all<{ fingerprint: string }>('SELECT fingerprint FROM images_members WHERE member_id = ?', memberId)
    .map(({ fingerprint }) => fingerprint);
}

/** Fetched for an instance, and not used since `before`. */
export function unusedCachedImages(reader: Reader, before: Date): ImageRecord[] {
  const time = before.toISOString();
  return reader.all<Row>(`${select} WHERE cached = 1 AND CASE last_used_at WHEN '' THEN uploaded_at ELSE last_used_at END < ?`, time).map(fromRow);
}

/** The newest image of where another came from that is kept up to date. */
export function keptImage(reader: Reader, project: string, source: ImageSourceRecord): ImageRecord | undefined {
  const row = reader.get<Row>(
    `${select} WHERE project = ? AND auto_update = 1 AND source <> '' AND source ->> 'server' = ? AND source ->> 'protocol' = ?
       AND source ->> 'alias' = ? AND ? IN ('', type) ORDER BY uploaded_at DESC, id DESC LIMIT 1`,
    project,
    source.server,
    source.protocol,
    source.alias,
    source.image_type,
  );
  return row && fromRow(row);
}

export function autoUpdatedImages(reader: Reader): ImageRecord[] {
  return reader.all<Row>(`${select} WHERE auto_update = 1 AND source <> '' ORDER BY id`).map(fromRow);
}

export interface AliasRecord {
  id: number;
  project: string;
  name: string;
  description: string;
  imageId: number;
  target: string;
  type: string;
  public: boolean;
}

interface AliasRow {
  id: number;
  project: string;
  name: string;
  description: string;
  image_id: number;
  fingerprint: string;
  type: string;
  public: number;
}

const selectAlias =
  'SELECT a.id, a.project, a.name, a.description, a.image_id, i.fingerprint, i.type, i.public FROM images_aliases a JOIN images i ON i.id = a.image_id';

const fromAliasRow = ({ image_id, fingerprint, ...row }: AliasRow): AliasRecord => ({
  ...row,
  imageId: image_id,
  target: fingerprint,
  public: row.public === 1,
});

export function aliases(reader: Reader, project: string): AliasRecord[] {
  return reader.all<AliasRow>(`${selectAlias} WHERE a.project = ? ORDER BY a.name`, project).map(fromAliasRow);
}

export function findAlias(reader: Reader, project: string, name: string): AliasRecord | undefined {
  const row = reader.get<AliasRow>(`${selectAlias} WHERE a.project = ? AND a.name = ?`, project, name);
  return row && fromAliasRow(row);
}

/** @throws Fault notFound */
export function alias(reader: Reader, project: string, name: string): AliasRecord {
  const found = findAlias(reader, project, name);
  if (!found) throw fault.notFound('Image alias not found');
  return found;
}

export function aliasesOf(reader: Reader, imageId: number): { name: string; description: string }[] {
  return reader.all('SELECT name, description FROM images_aliases WHERE image_id = ? ORDER BY name', imageId);
}

/** Names of the profiles that are left of those an image was given. */
export function profilesOf(reader: Reader, imageId: number): string[] {
  const rows = reader.all<{ name: string }>(
    'SELECT p.name FROM images_profiles ip JOIN profiles p ON p.id = ip.profile_id WHERE ip.image_id = ? ORDER BY p.name',
    imageId,
  );
  return rows.map(({ name }) => name);
}

/** The document of the API. */
export function imageDocument(reader: Reader, record: ImageRecord): Image {
  return {
    auto_update: record.autoUpdate,
    properties: record.properties,
    public: record.public,
    expires_at: record.expiresAt || epoch,
    profiles: profilesOf(reader, record.id),
    aliases: aliasesOf(reader, record.id),
    architecture: record.architecture,
    cached: record.cached,
    filename: record.filename,
    fingerprint: record.fingerprint,
    size: record.size,
    type: record.type,
    created_at: record.createdAt,
    last_used_at: record.lastUsedAt || epoch,
    uploaded_at: record.uploadedAt,
    ...(record.source ? { update_source: record.source } : {}),
  };
}

export const imageEtag = (record: ImageRecord): unknown => [record.public, record.autoUpdate, record.properties];
export const aliasEtag = ({ name, description, target, type }: AliasRecord): unknown => ({ name, description, target, type });
