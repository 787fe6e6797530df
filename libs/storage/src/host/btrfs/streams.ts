import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { parseDocument, stringify } from 'yaml';
import { runOk, streamThrough } from '#host-kit';
import { fault, Undo, type Logger } from '#kit';
import type { OptimizedFiles, OptimizedPlace } from '../driver.js';
import { treeTimeoutMs } from '../files.js';
import * as command from './btrfs.command.js';
import { snapshotDeep } from './subvolumes.js';

/** One line of optimized_header.yaml: a subvolume inside the volume (`/` is the volume itself), or inside one of its snapshots. */
interface Subvolume {
  path: string;
  /** '' for the volume. */
  snapshot: string;
  readonly: boolean;
  uuid: string;
}

/** LXD's way to make a file name of a path inside a volume. */
const encoded = (path: string): string => path.replaceAll('-', '--').replaceAll('/', '-');
const placeOf = ({ path, snapshot }: Subvolume): OptimizedPlace => ({
  ...(snapshot === '' ? {} : { snapshot }),
  subvolume: path === '/' ? '' : encoded(path.slice(1)),
});

/** Where a volume and its snapshots lie, and a directory of the pool for what is there only meanwhile. */
export interface StreamPaths {
  volume: string;
  snapshot(name: string): string;
  temporary: string;
  /** Of a subvolume, with all inside it. Nothing there is success. */
  remove(path: string): Promise<void>;
}

/**
 * `btrfs send` of the snapshots, each with the one before as its parent, and of the volume as it is now: a file for each subvolume, and the header that says
 * where they belong. LXD's format.
 */
export async function sendStreams(
  paths: StreamPaths,
  snapshots: readonly string[],
  directory: string,
  log: Logger,
  signal?: AbortSignal,
): Promise<OptimizedFiles> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await using undo = new Undo(log);
  const current = `${paths.temporary}/.send-${randomBytes(6).toString('hex')}`;
  await snapshotDeep(paths.volume, current, { readOnly: true });
  undo.add('temporary snapshot', () => paths.remove(current));
  const header: Subvolume[] = [];
  const streams: OptimizedFiles['streams'] = [];
  let parent: string | undefined;
  for (const snapshot of [...snapshots, undefined]) {
    const source = snapshot === undefined ? current : paths.snapshot(snapshot);
    // What the flags are to be again, seen where nothing was changed for the sending.
    const flagsFrom = snapshot === undefined ? paths.volume : source;
    for (const inner of ['', ...(await command.nestedSubvolumes(source)).sort()]) {
      const at = (base: string): string => (inner === '' ? base : `${base}/${inner}`);
      const subvolume = {
        path: inner === '' ? '/' : `/${inner}`,
        snapshot: snapshot ?? '',
        readonly: await command.isReadOnly(at(flagsFrom)),
        uuid: '',
      };
      header.push(subvolume);
      const differential = parent !== undefined && (await command.isSubvolume(at(parent))) ? at(parent) : undefined;
      for (const path of [at(source), ...(differential ? [differential] : [])]) {
        if (await command.isReadOnly(path)) continue;
        await command.setReadOnly(path, true);
        undo.add('read-only flag', () => command.setReadOnly(path, false));
      }
      const path = `${directory}/${streams.length}`;
      const args = ['send', '-q', ...(differential ? ['-p', differential] : []), '-f', path, at(source)];
      await runOk('btrfs', args, { timeoutMs: treeTimeoutMs, signal, failure: 'Failed to send a subvolume' });
      streams.push({ path, ...placeOf(subvolume) });
    }
    parent = source;
  }
  const headerPath = `${directory}/header`;
  await writeFile(headerPath, stringify({ subvolumes: header }, { version: '1.1' }), { mode: 0o600 });
  return { headerPath, streams };
}

/** Makes a volume and its snapshots of such streams; what was made is gone when this throws. @throws Fault invalid */
export async function receiveStreams(
  paths: StreamPaths,
  {
    snapshots,
    header,
    open,
  }: { snapshots: readonly string[]; header?: string; open: (place: OptimizedPlace, into: (stream: Readable) => Promise<void>) => Promise<void> },
  log: Logger,
  signal?: AbortSignal,
): Promise<void> {
  const subvolumes = header === undefined ? plainHeader(snapshots) : parseHeader(header, snapshots);
  await using undo = new Undo(log);
  const temporary = `${paths.temporary}/.receive-${randomBytes(6).toString('hex')}`;
  await mkdir(temporary, { mode: 0o700 });
  await using always = new Undo(log);
  always.add('temporary directory', () => removeReceived(paths, temporary));
  const received: { from: string; to: string; readonly: boolean }[] = [];
  for (const [number, subvolume] of subvolumes.entries()) {
    const directory = `${temporary}/${number}`;
    await mkdir(directory, { mode: 0o700 });
    // In a root of its own: whatever the stream says, it writes nowhere else.
    await open(placeOf(subvolume), (stream) =>
      streamThrough(stream, 'btrfs', ['receive', '-q', '-e', '--chroot', directory], undefined, { signal, failure: 'Failed to receive a subvolume' }),
    );
    const [name, ...more] = await readdir(directory);
    if (name === undefined || more.length > 0) throw fault.invalid('The optimized backup holds something other than one subvolume');
    const base = subvolume.snapshot === '' ? paths.volume : paths.snapshot(subvolume.snapshot);
    received.push({ from: `${directory}/${name}`, to: subvolume.path === '/' ? base : `${base}${subvolume.path}`, readonly: subvolume.readonly });
  }
  // Only when all are there: each is the parent of the next, and may not change before.
  for (const { from, to } of received) {
    await command.setReadOnly(from, false);
    // An inner subvolume shows as an empty directory of its parent.
    await rmdir(to).catch(() => {});
    await rename(from, to);
    if (!received.some((other) => other.to !== to && to.startsWith(`${other.to}/`))) undo.add('subvolume', () => paths.remove(to));
  }
  for (const { to, readonly } of received.reverse()) if (readonly) await command.setReadOnly(to, true);
  undo.drop();
}

async function removeReceived(paths: StreamPaths, temporary: string): Promise<void> {
  for (const number of await readdir(temporary)) {
    for (const name of await readdir(`${temporary}/${number}`)) await paths.remove(`${temporary}/${number}/${name}`);
  }
  await rm(temporary, { recursive: true, force: true });
}

/** Backups older than the header have the top subvolumes only. */
const plainHeader = (snapshots: readonly string[]): Subvolume[] => [
  ...snapshots.map((snapshot) => ({ path: '/', snapshot, readonly: true, uuid: '' })),
  { path: '/', snapshot: '', readonly: false, uuid: '' },
];

/** @throws Fault invalid unless every path stays inside its volume, and every volume begins with its top */
function parseHeader(text: string, snapshots: readonly string[]): Subvolume[] {
  const bad = (why: string): Error => fault.invalid(`Invalid optimized backup header: ${why}`);
  const document = parseDocument(text, { schema: 'failsafe', version: '1.1', logLevel: 'silent' });
  if (document.errors.length > 0) throw bad('not readable');
  const { subvolumes } = (document.toJS({ maxAliasCount: 0 }) ?? {}) as { subvolumes?: Record<string, unknown>[] };
  if (!Array.isArray(subvolumes) || subvolumes.length > 10_000) throw bad('no list of subvolumes');
  const tops = new Set<string>();
  const result = subvolumes.map((one) => {
    const [path, snapshot] = [String(one?.['path'] ?? ''), String(one?.['snapshot'] ?? '')];
    if (snapshot !== '' && !snapshots.includes(snapshot)) throw bad(`unknown snapshot "${snapshot}"`);
    const parts = path.slice(1).split('/');
    if (!path.startsWith('/') || (path !== '/' && parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))))
      throw bad(`bad path "${path}"`);
    if (path === '/') tops.add(snapshot);
    else if (!tops.has(snapshot)) throw bad(`"${path}" comes before its volume`);
    return { path, snapshot, readonly: String(one['readonly']) === 'true', uuid: '' };
  });
  for (const name of ['', ...snapshots]) if (!tops.has(name)) throw bad('a volume is missing');
  return result;
}
