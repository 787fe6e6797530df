import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DevicesMap } from '#api-contract';
import type { Creation, InstancesAgent } from '#instances/host';
import { isRootDisk } from '#instances/model';
import { findInstance, type NewSnapshotRow, profileProject } from '#instances/state';
import { fault } from '#kit';
import type { CallContext, HostContext } from '#members';
import { findProfile } from '#profiles/state';
import type { Reader } from '#replica/state';
import type { StorageHost, VolumeRef, VolumeSource } from '#storage/host';
import { findPool, pool as poolNamed } from '#storage/state';
import { type BackupIndex, indexMaxBytes, parseIndex, withoutRun } from '../model/index.js';
import { Archive } from './archive-read.js';
import { onPool } from './on-pool.js';
import { wordsOf } from './volume-words.js';
import { streamName } from './stream-name.js';
import type { VolumeReceiver } from './volume-receiver.js';

/** A backup that has been uploaded: its file, and what it says of itself. */
export interface OpenedBackup {
  archive: Archive;
  index: BackupIndex;
}

/** @throws Fault invalid */
export async function openBackup(path: string): Promise<OpenedBackup> {
  const archive = await Archive.open(path);
  const text = await archive.text('backup/index.yaml', indexMaxBytes);
  if (text === undefined) throw fault.invalid('Backup is missing index.yaml');
  return { archive, index: parseIndex(text) };
}

/** Makes instances and volumes of backups, which may come from anywhere. */
export class Importer {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly instances: InstancesAgent,
    private readonly volumes: VolumeReceiver,
  ) {}

  /** The pool that an instance goes to. @throws Fault where the one that was asked for is not there */
  poolFor(project: string, { index }: OpenedBackup, wanted: string): string {
    const name = wanted || index.pool;
    if (findPool(this.#reader, name)) return name;
    if (wanted !== '' || index.optimized) throw fault.notFound('Storage pool not found', { status: 500 });
    const profile = findProfile(this.#reader, profileProject(this.#reader, project), 'default');
    const fallback = Object.values(profile?.devices ?? {}).find(isRootDisk)?.pool;
    if (!fallback) throw fault.invalid('Failed to get root disk device: No root device could be found', { status: 500 });
    return fallback;
  }

  /** @throws Fault; then nothing of it is left */
  async importInstance(
    project: string,
    backup: OpenedBackup,
    wanted: { name: string; pool: string },
    call: CallContext,
    signal: AbortSignal,
  ): Promise<void> {
    const { index, archive } = backup;
    const { container } = index.config;
    if (index.type !== 'container') throw fault.unsupported(`Backups of type "${index.type}" cannot be imported as instances`, { status: 400 });
    if (!container) throw fault.invalid('No instance config in backup config');
    if (findInstance(this.#reader, project, wanted.name)) throw fault.conflict(`Cannot import instance: "${wanted.name}" already exists`);
    this.#checkBackend(index, wanted.pool);
    const source = await this.#source(index, archive, 'container', async (path) => checkInstanceTree(path));
    const creation: Creation = {
      project,
      name: wanted.name,
      type: 'container',
      architecture: container.architecture,
      description: container.description,
      ephemeral: container.ephemeral,
      config: recordedConfig(container.config, index.optimized),
      devices: this.#onPool(project, container.devices, container.profiles, wanted.pool),
      profiles: container.profiles,
      source,
      snapshots: this.#snapshots(project, index, wanted.pool),
      volume: wordsOf(index.config.volume),
    };
    await this.instances.lifecycle.create(creation, call, signal);
  }

  /** @throws Fault; then nothing of it is left */
  async importVolume(backup: OpenedBackup, volume: VolumeRef, call: CallContext, signal: AbortSignal): Promise<void> {
    const { index, archive } = backup;
    const about = index.config.volume;
    if (index.type !== 'custom') throw fault.invalid(`Backup is of type "${index.type}", not a custom volume`);
    if (!about) throw fault.invalid('Valid volume config not found in index');
    if (index.snapshots.length !== index.config.volume_snapshots.length) throw fault.invalid('Valid volume snapshot config not found in index');
    if (about.content_type !== 'filesystem')
      throw fault.unsupported(`Volumes of content type "${about.content_type}" cannot be imported`, { status: 400 });
    this.#checkBackend(index, volume.pool);
    const source = await this.#source(index, archive, 'volume', async () => {});
    const snapshots = index.config.volume_snapshots.map(({ name, description, config, expires_at }) => ({
      name,
      description,
      config,
      expiresAt: expires_at.startsWith('0001-') ? '' : expires_at,
    }));
    await this.volumes.make(volume, { description: about.description, config: about.config, snapshots }, source, call, signal);
  }

  #checkBackend(index: BackupIndex, pool: string): void {
    const { driver } = poolNamed(this.#reader, pool);
    if (index.optimized && driver !== index.backend)
      throw fault.invalid(`Optimized backup storage driver "${index.backend}" differs from the target storage pool driver "${driver}"`);
  }

  /** What the new volume begins with: its snapshots in order, then itself. */
  async #source(index: BackupIndex, archive: Archive, own: 'container' | 'volume', check: (path: string) => Promise<void>): Promise<VolumeSource> {
    const directory = own === 'volume' ? 'volume-snapshots' : 'snapshots';
    if (index.optimized) {
      return {
        kind: 'optimized',
        source: {
          snapshots: index.snapshots,
          header: index.optimized_header ? await archive.text('backup/optimized_header.yaml', indexMaxBytes) : undefined,
          open: (place, into) => archive.pipeMember(streamName(own, place), into),
        },
        check,
      };
    }
    return {
      kind: 'fill',
      fill: async (path, signal, snapshot) => {
        for (const name of index.snapshots) {
          await empty(path);
          await archive.extract(`backup/${directory}/${name}`, path, { top: own === 'volume', signal });
          await check(path);
          await snapshot(name);
        }
        await empty(path);
        await archive.extract(`backup/${own}`, path, { top: own === 'volume', signal });
        await check(path);
      },
    };
  }

  #snapshots(project: string, index: BackupIndex, pool: string): NewSnapshotRow[] {
    return index.snapshots.map((name) => {
      const about = index.config.snapshots.find((one) => one.name === name);
      if (!about) throw fault.invalid(`The backup says nothing of its snapshot "${name}"`);
      return {
        name,
        description: '',
        ephemeral: about.ephemeral,
        config: recordedConfig(about.config, index.optimized),
        devices: this.#onPool(project, about.devices, about.profiles, pool),
        createdAt: about.created_at,
        expiresAt: about.expires_at.startsWith('0001-') ? '' : about.expires_at,
        volume: wordsOf(index.config.volume_snapshots.find((one) => one.name === name)),
      };
    });
  }

  /** Devices with a root disk on the pool that it now lies in. */
  #onPool(project: string, devices: DevicesMap, profiles: readonly string[], pool: string): DevicesMap {
    return onPool(this.#reader, project, devices, profiles, pool);
  }

  get #reader(): Reader {
    return this.context.replica.reader;
  }
}

/** In an archive of files the owners are the container's; streams of a file system have what was on disk. */
const recordedConfig = (config: Record<string, string>, asOnDisk: boolean): Record<string, string> =>
  asOnDisk ? withoutRun(config) : { ...withoutRun(config), 'volatile.last_state.idmap': '[]' };

/** What must be a directory or a file is that, and no link to elsewhere. @throws Fault invalid */
export async function checkInstanceTree(path: string): Promise<void> {
  const kind = async (name: string, wanted: 'directory' | 'file', missing = false): Promise<void> => {
    const about = await lstat(join(path, name)).catch(() => undefined);
    if (!about && missing) return;
    if (!(wanted === 'directory' ? about?.isDirectory() : about?.isFile())) throw fault.invalid(`Invalid backup: ${name} is no ${wanted}`);
  };
  await kind('rootfs', 'directory');
  await kind('metadata.yaml', 'file', true);
  await kind('backup.yaml', 'file', true);
  await kind('templates', 'directory', true);
  for (const name of await readdir(join(path, 'templates')).catch(() => [])) await kind(`templates/${name}`, 'file');
}

/** Before the next tree comes to the same place. */
async function empty(path: string): Promise<void> {
  for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
}
