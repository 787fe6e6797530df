import { parseDocument, stringify, visit } from 'yaml';
import { zeroTime, type Instance, type InstanceSnapshot, type Profile, type StoragePool, type StorageVolume } from '#api-contract';
import { fault } from '#kit';
import { checkPlainName } from './names.js';

/** What a backup's snapshot of a volume says of itself. */
export interface BackupVolumeSnapshot {
  name: string;
  description: string;
  /** RFC 3339; the zero time: never. */
  expires_at: string;
  config: Record<string, string>;
  content_type: string;
}

/** The records behind a backup, as the API shows them; also the contents of backup.yaml inside an instance's volume. */
export interface BackupConfig {
  container?: Instance;
  snapshots: InstanceSnapshot[];
  pool?: StoragePool;
  profiles: Profile[];
  volume?: StorageVolume;
  volume_snapshots: BackupVolumeSnapshot[];
}

export type BackupType = 'container' | 'virtual-machine' | 'custom';

/** backup/index.yaml, the first member of a backup. */
export interface BackupIndex {
  name: string;
  /** Storage driver of the pool that it comes from. */
  backend: string;
  pool: string;
  /** Oldest first. */
  snapshots: string[];
  /** In the driver's own format. */
  optimized: boolean;
  /** With backup/optimized_header.yaml. */
  optimized_header: boolean;
  type: BackupType;
  config: BackupConfig;
}

/** Of an index with ten thousand snapshots: about 8 MiB. */
export const indexMaxBytes = 32 * 1024 * 1024;

/** YAML 1.1, because LXD's library reads words like `yes` and `0x1` in its way: what could be mistaken is quoted. */
const toYaml = (value: unknown): string => stringify(value, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false });

/** The text of index.yaml. Empty lists are left out where LXD leaves them out. */
export function renderIndex({ name, backend, pool, snapshots, optimized, optimized_header, type, config }: BackupIndex): string {
  return toYaml({
    name,
    backend,
    pool,
    ...(snapshots.length > 0 ? { snapshots } : {}),
    optimized,
    optimized_header,
    type,
    config: trimmed(config),
  });
}

/** The text of backup.yaml. */
export const renderBackupConfig = (config: BackupConfig): string => toYaml(trimmed(config));

function trimmed({ container, snapshots, pool, profiles, volume, volume_snapshots }: BackupConfig): Record<string, unknown> {
  return {
    ...(container ? { container } : {}),
    ...(snapshots.length > 0 ? { snapshots } : {}),
    ...(pool ? { pool } : {}),
    ...(profiles.length > 0 ? { profiles } : {}),
    ...(volume ? { volume } : {}),
    ...(volume_snapshots.length > 0 ? { volume_snapshots } : {}),
  };
}

/**
 * Reads index.yaml as it comes from anywhere: every name in it is one that may become part of a path, every field has its type. What older servers did not
 * write has its old meaning. @throws Fault invalid
 */
export function parseIndex(text: string): BackupIndex {
  const index = new Fields(parseYaml(text, 'index.yaml'), 'index.yaml');
  const type = index.text('type') || 'container';
  if (type !== 'container' && type !== 'virtual-machine' && type !== 'custom') throw fault.invalid(`Unknown backup type "${type}"`);
  const snapshots = index.texts('snapshots');
  const name = index.text('name');
  const pool = index.text('pool');
  for (const one of [name, pool, ...snapshots]) checkPlainName(one);
  if (new Set(snapshots).size !== snapshots.length) throw fault.invalid('The backup names a snapshot twice');
  return {
    name,
    backend: index.text('backend'),
    pool,
    snapshots,
    optimized: index.flag('optimized'),
    optimized_header: index.flag('optimized_header'),
    type,
    config: configOf(index.object('config')),
  };
}

/** Reads backup.yaml of an unpacked instance. @throws Fault invalid */
export const parseBackupConfig = (text: string): BackupConfig => configOf(new Fields(parseYaml(text, 'backup.yaml'), 'backup.yaml'));

/** Reads the same from JSON that another server sent (the index frame of a migration). @throws Fault invalid */
export const backupConfigFrom = (value: unknown): BackupConfig => configOf(new Fields(value, 'config'));

function configOf(fields: Fields): BackupConfig {
  const volume_snapshots = fields.objects('volume_snapshots').map((one) => ({
    // A bug of old servers wrote VOLUME/SNAPSHOT.
    name: one.text('name').replace(/^.*\//, ''),
    description: one.text('description'),
    expires_at: one.time('expires_at'),
    config: one.map('config'),
    content_type: one.text('content_type'),
  }));
  return {
    ...(fields.has('container') ? { container: instanceOf(fields.object('container')) } : {}),
    snapshots: fields.objects('snapshots').map(snapshotOf),
    ...(fields.has('pool') ? { pool: poolOf(fields.object('pool')) } : {}),
    profiles: fields.objects('profiles').map((one) => ({
      name: one.text('name'),
      description: one.text('description'),
      config: one.map('config'),
      devices: one.maps('devices'),
      used_by: one.texts('used_by'),
    })),
    ...(fields.has('volume') ? { volume: volumeOf(fields.object('volume')) } : {}),
    volume_snapshots,
  };
}

const instanceOf = (one: Fields): Instance => ({
  architecture: one.text('architecture'),
  config: one.map('config'),
  devices: one.maps('devices'),
  ephemeral: one.flag('ephemeral'),
  profiles: one.texts('profiles'),
  stateful: one.flag('stateful'),
  description: one.text('description'),
  created_at: one.time('created_at'),
  expanded_config: one.map('expanded_config'),
  expanded_devices: one.maps('expanded_devices'),
  name: one.text('name'),
  status: one.text('status'),
  status_code: one.number('status_code'),
  last_used_at: one.time('last_used_at'),
  location: one.text('location'),
  type: one.text('type') === 'virtual-machine' ? 'virtual-machine' : 'container',
  project: one.text('project'),
});

const snapshotOf = (one: Fields): InstanceSnapshot => ({
  expires_at: one.time('expires_at'),
  architecture: one.text('architecture'),
  config: one.map('config'),
  created_at: one.time('created_at'),
  devices: one.maps('devices'),
  ephemeral: one.flag('ephemeral'),
  expanded_config: one.map('expanded_config'),
  expanded_devices: one.maps('expanded_devices'),
  last_used_at: one.time('last_used_at'),
  name: one.text('name'),
  profiles: one.texts('profiles'),
  stateful: one.flag('stateful'),
  size: one.number('size'),
});

const poolOf = (one: Fields): StoragePool => ({
  config: one.map('config'),
  description: one.text('description'),
  name: one.text('name'),
  driver: one.text('driver'),
  used_by: one.texts('used_by'),
  status: one.text('status'),
  locations: one.texts('locations'),
});

const volumeOf = (one: Fields): StorageVolume => ({
  config: one.map('config'),
  description: one.text('description'),
  name: one.text('name'),
  type: one.text('type'),
  used_by: one.texts('used_by'),
  location: one.text('location'),
  content_type: one.text('content_type') || 'filesystem',
  project: one.text('project'),
  created_at: one.time('created_at'),
});

/** Every scalar as text, but null: what a key's value is must not depend on how YAML sees it. */
function parseYaml(text: string, what: string): unknown {
  if (text.length > indexMaxBytes) throw fault.invalid(`The ${what} of the backup is too large`);
  const document = parseDocument(text, { schema: 'failsafe', version: '1.1', uniqueKeys: true, logLevel: 'silent' });
  if (document.errors.length > 0) throw fault.invalid(`The ${what} of the backup cannot be read`, { detail: document.errors[0]!.message });
  visit(document, {
    Scalar: (_, node) => {
      if (node.type === 'PLAIN' && ['', '~', 'null', 'Null', 'NULL'].includes(String(node.value))) node.value = null;
    },
  });
  return document.toJS({ maxAliasCount: 0 });
}

/** Typed reading of what a stranger wrote: missing and null fields have their zero value. */
class Fields {
  readonly #fields: Record<string, unknown>;

  constructor(
    value: unknown,
    private readonly at: string,
  ) {
    if (isNothing(value)) value = {};
    if (typeof value !== 'object' || Array.isArray(value)) throw fault.invalid(`Invalid backup: ${at} must be a map`);
    this.#fields = value as Record<string, unknown>;
  }

  has(field: string): boolean {
    return !isNothing(this.#fields[field]);
  }

  text(field: string): string {
    const value = this.#fields[field];
    if (isNothing(value)) return '';
    return textOf(value, `${this.at}.${field}`);
  }

  flag(field: string): boolean {
    return ['true', 'yes', 'on'].includes(this.text(field).toLowerCase());
  }

  number(field: string): number {
    const value = Number(this.text(field) || 0);
    return Number.isFinite(value) ? value : 0;
  }

  /** As RFC 3339 in UTC; the zero time when missing. */
  time(field: string): string {
    const text = this.text(field);
    if (text === '' || text.startsWith('0001-01-01')) return zeroTime;
    const at = new Date(text);
    if (Number.isNaN(at.getTime())) throw fault.invalid(`Invalid backup: ${this.at}.${field} must be a time`);
    return at.toISOString();
  }

  texts(field: string): string[] {
    return this.#list(field).map((one, index) => textOf(one, `${this.at}.${field}[${index}]`));
  }

  map(field: string): Record<string, string> {
    const inner = this.object(field);
    return Object.fromEntries(Object.keys(inner.#fields).map((key) => [key, inner.text(key)]));
  }

  maps(field: string): Record<string, Record<string, string>> {
    const inner = this.object(field);
    return Object.fromEntries(Object.keys(inner.#fields).map((key) => [key, inner.map(key)]));
  }

  object(field: string): Fields {
    return new Fields(this.#fields[field], `${this.at}.${field}`);
  }

  objects(field: string): Fields[] {
    return this.#list(field).map((one, index) => new Fields(one, `${this.at}.${field}[${index}]`));
  }

  #list(field: string): unknown[] {
    const value = this.#fields[field];
    if (isNothing(value)) return [];
    if (!Array.isArray(value)) throw fault.invalid(`Invalid backup: ${this.at}.${field} must be a list`);
    return value;
  }
}

const isNothing = (value: unknown): boolean => value === undefined || value === null;

function textOf(value: unknown, at: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw fault.invalid(`Invalid backup: ${at} must be a text`);
}
