import { chmod, chown, lstat, mkdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { fault, Fault, Undo } from '#kit';
import type { HostContext } from '#members';
import { MemberConfigStore } from '#server/host';
import { volumeKey, type VolumeRef } from '../model/index.js';
import * as state from '../state/index.js';
import { copyTree, namesIn, pathExists, removeTree } from './files.js';
import type { LocalStorage } from './local-storage.js';
import type { MountedVolume } from './storage-host.js';

type Config = Readonly<Record<string, string>>;

/** Directories of the state directory that may lie on a volume, by the key that says so. */
const directories = { 'storage.backups_volume': 'backups', 'storage.images_volume': 'images' } as const;
type Key = keyof typeof directories;
const keys = Object.keys(directories) as Key[];

/** May be in an empty file system. */
const ownNames = new Set(['lost+found']);

/**
 * The server's own directories on custom volumes of the default project: STATE/backups, say, is then a link to the mounted volume. What is moved is
 * complete at its new place before the link says so, and gone from the old one after. The configuration, which changes last, is right: what a crash left
 * otherwise is moved back at the next start.
 */
export class DaemonVolumes {
  readonly #mounted = new Map<Key, { volume: VolumeRef; mount: MountedVolume }>();

  constructor(
    private readonly context: HostContext,
    private readonly storage: LocalStorage,
  ) {}

  /** Mounts what the configuration names. A volume that is not to be had is logged: the rest of the server works without it. */
  async start(): Promise<void> {
    const config = new MemberConfigStore(this.context.local).read();
    for (const key of keys) {
      try {
        await this.#put(key, config[key] ?? '');
      } catch (error) {
        this.context.log.error({ err: error, key, volume: config[key] }, 'could not bring a directory of the server to its volume');
      }
    }
  }

  /** Before the configuration changes. @throws Fault invalid for a volume that cannot be taken; nothing has moved then */
  async follow(before: Config, after: Config): Promise<void> {
    const changed = keys.filter((key) => (before[key] ?? '') !== (after[key] ?? ''));
    for (const key of changed) await this.#check(key, after[key] ?? '');
    await using undo = new Undo(this.context.log);
    for (const key of changed) {
      await this.#put(key, after[key] ?? '');
      undo.add(key, () => this.#put(key, before[key] ?? ''));
    }
    undo.drop();
  }

  /** Whether the server itself keeps something there. */
  uses(volume: VolumeRef): boolean {
    return [...this.#mounted.values()].some((used) => volumeKey(used.volume) === volumeKey(volume));
  }

  async #check(key: Key, target: string): Promise<void> {
    if (target === '') return;
    try {
      const volume = volumeOf(target);
      const row = state.volume(this.context.replica.reader, volume, this.context.server.memberId);
      if (row.contentType !== 'filesystem') throw fault.invalid(`Storage volume "${target}" in "default" project is not filesystem content type`);
      if (state.volumeSnapshots(this.context.replica.reader, row.id).length > 0)
        throw fault.invalid('Storage volumes for use by LXD itself cannot have snapshots');
      await using mount = await this.storage.mount(volume);
      if ((await namesIn(mount.path)).some((name) => !ownNames.has(name))) throw fault.invalid(`Storage volume "${target}" isn't empty`);
    } catch (error) {
      throw fault.invalid(`Failed validation of "${key}": ${Fault.from(error).message}`, { cause: error });
    }
  }

  /** Brings a directory to a volume, or back ('') to the state directory, from wherever it is. There already is success. */
  async #put(key: Key, target: string): Promise<void> {
    const path = `${this.context.server.stateDir}/${directories[key]}`;
    const volume = target === '' ? undefined : volumeOf(target);
    await using undo = new Undo(this.context.log);
    const mount = volume && (await this.storage.mount(volume));
    if (mount) undo.add('mount', () => mount[Symbol.asyncDispose]());
    await settle(path);
    const from = await placeOf(path);
    const to = mount?.path ?? path;
    if (from !== to) await move(path, from, to);
    const used = this.#mounted.get(key);
    if (volume && mount) this.#mounted.set(key, { volume, mount });
    else this.#mounted.delete(key);
    undo.drop();
    await used?.mount[Symbol.asyncDispose]();
  }
}

/** @param path the link, or the directory where there is none @param from what holds its contents now @param to a mounted volume, or `path` itself */
async function move(path: string, from: string, to: string): Promise<void> {
  const aside = asideOf(path);
  if (to === path) {
    await mkdir(aside, { recursive: true, mode: 0o700 });
    await copyTree(from, aside);
    await rm(path);
    await rename(aside, path);
    await empty(from);
    return;
  }
  if (await pathExists(from)) await copyTree(from, to);
  await chmod(to, 0o700);
  await chown(to, 0, 0);
  const link = `${path}.link`;
  await rm(link, { force: true });
  await symlink(to, link);
  if (from === path && (await pathExists(path))) await rename(path, aside);
  await rename(link, path);
  if (from === path) await removeTree(aside);
  else await empty(from);
}

/** Of the directory that takes the place of a link, or lay there before it. */
const asideOf = (path: string): string => `${path}.aside`;

/** A move that a crash cut off: what is aside is whole exactly while nothing is in its place. */
async function settle(path: string): Promise<void> {
  if (await pathExists(path)) await removeTree(asideOf(path));
  else if (await pathExists(asideOf(path))) await rename(asideOf(path), path);
}

async function empty(directory: string): Promise<void> {
  for (const name of await namesIn(directory)) if (!ownNames.has(name)) await removeTree(`${directory}/${name}`);
}

/** Where the contents of a directory lie: itself, or what the link there says. */
async function placeOf(path: string): Promise<string> {
  const isLink = await lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  );
  return isLink ? readlink(path) : path;
}

/** @throws Fault invalid */
function volumeOf(target: string): VolumeRef {
  const [pool, name, ...rest] = target.split('/');
  if (!pool || !name || rest.length > 0) throw fault.invalid('Invalid syntax for volume, must be <pool>/<volume>');
  return { pool, project: 'default', type: 'custom', name };
}
