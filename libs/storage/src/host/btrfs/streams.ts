import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { parseDocument, stringify } from 'yaml';
import { runOk, streamThrough } from '#host-kit';
import { fault, Undo, type Logger } from '#kit';
import type { OptimizedFiles, OptimizedPlace, OptimizedSource } from '../driver.js';
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

/** What is to be sent, held still until it is disposed of. */
interface PreparedSend extends AsyncDisposable {
  header: string;
  /** In the order of the header. `source` is sent as what differs from `parent`, if there is one. */
  streams: (OptimizedPlace & { source: string; parent?: string })[];
}

/** @param of a snapshot that is sent as the volume, in place of what that is now */
async function prepareSend(paths: StreamPaths, snapshots: readonly string[], log: Logger, of?: string): Promise<PreparedSend> {
  const undo = new Undo(log);
  try {
    const current = `${paths.temporary}/.send-${randomBytes(6).toString('hex')}`;
    const volume = of === undefined ? paths.volume : paths.snapshot(of);
    undo.add('temporary snapshot', () => paths.remove(current));
    await snapshotDeep(volume, current, { readOnly: true });
    const header: Subvolume[] = [];
    const streams: PreparedSend['streams'] = [];
    let parent: string | undefined;
    for (const snapshot of [...snapshots, undefined]) {
      const base = snapshot === undefined ? current : paths.snapshot(snapshot);
      // What the flags are to be again, seen where nothing was changed for the sending. The volume itself is not read-only, whatever it is made of.
      const flagsFrom = snapshot === undefined ? volume : base;
      for (const inner of ['', ...(await command.nestedSubvolumes(base)).sort()]) {
        const at = (top: string): string => (inner === '' ? top : `${top}/${inner}`);
        const readonly = (inner !== '' || snapshot !== undefined) && (await command.isReadOnly(at(flagsFrom)));
        const subvolume = { path: inner === '' ? '/' : `/${inner}`, snapshot: snapshot ?? '', readonly, uuid: '' };
        header.push(subvolume);
        const source = at(base);
        if (!(await command.isReadOnly(source))) {
          await command.setReadOnly(source, true);
          undo.add('read-only flag', () => command.setReadOnly(source, false));
        }
        const before = parent === undefined ? undefined : at(parent);
        streams.push({ source, ...(before && (await command.isSubvolume(before)) ? { parent: before } : {}), ...placeOf(subvolume) });
      }
      parent = base;
    }
    return { header: stringify({ subvolumes: header }, { version: '1.1' }), streams, [Symbol.asyncDispose]: () => undo.run() };
  } catch (error) {
    await undo.run();
    throw error;
  }
}

const sendArguments = ({ source, parent }: { source: string; parent?: string }, ...more: string[]): string[] => [
  'send',
  '-q',
  ...(parent === undefined ? [] : ['-p', parent]),
  ...more,
  source,
];

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
  await using prepared = await prepareSend(paths, snapshots, log);
  const streams: OptimizedFiles['streams'] = [];
  for (const { source, parent, ...place } of prepared.streams) {
    const path = `${directory}/${streams.length}`;
    const args = sendArguments({ source, parent }, '-f', path);
    await runOk('btrfs', args, { timeoutMs: treeTimeoutMs, signal, failure: 'Failed to send a subvolume' });
    streams.push({ path, ...place });
  }
  const headerPath = `${directory}/header`;
  await writeFile(headerPath, prepared.header, { mode: 0o600 });
  return { headerPath, streams };
}

/** The same without files: for `receiveStreams` of another pool. */
export async function openStreams(
  paths: StreamPaths,
  snapshots: readonly string[],
  log: Logger,
  of?: string,
): Promise<OptimizedSource & AsyncDisposable> {
  const prepared = await prepareSend(paths, snapshots, log, of);
  return {
    snapshots,
    header: prepared.header,
    async open({ snapshot, subvolume }, into) {
      const stream = prepared.streams.find((one) => one.snapshot === snapshot && one.subvolume === subvolume);
      if (!stream) throw fault.internal('No such stream');
      const sent = new PassThrough();
      const sending = streamThrough(undefined, 'btrfs', sendArguments(stream), sent, { failure: 'Failed to send a subvolume' });
      // What breaks on one side ends the other: the first failure is the one to tell.
      await Promise.all([sending, into(sent)]);
    },
    [Symbol.asyncDispose]: () => prepared[Symbol.asyncDispose](),
  };
}

/** Makes a volume and its snapshots of such streams; what was made is gone when this throws. @throws Fault invalid */
export async function receiveStreams(
  paths: StreamPaths,
  { snapshots, header, open }: OptimizedSource,
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
      streamThrough(stream, 'btrfs', ['receive', '-q', '-e', '--chroot', directory], undefined, {
        signal,
        diesWithUs: true,
        failure: 'Failed to receive a subvolume',
      }),
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
