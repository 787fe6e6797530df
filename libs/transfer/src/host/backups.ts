import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { idmapFromJson } from '#host-kit';
import { fault, Undo } from '#kit';
import type { CallContext, HostContext } from '#members';
import type { Command } from '#replica/state';
import { Progress } from '#images/host';
import { parseCompression } from '#images/model';
import type { RunningOperation } from '#operations/host';
import type { MountedVolume, StorageHost, VolumeRef } from '#storage/host';
import { type BackupConfig, type BackupType, renderBackupConfig, renderIndex } from '../model/index.js';
import * as state from '../state/index.js';
import { type ArchivePart, writeArchive } from './archive-write.js';
import type { BackupFiles } from './backup-files.js';
import type { TransferIntents } from './intents.js';
import { streamName } from './stream-name.js';
import { unshifted } from './unshifted.js';

/** An instance or custom volume, as far as its backup is concerned. */
export interface BackedUp {
  kind: state.BackupKind;
  ownerId: number;
  type: BackupType;
  name: string;
  volume: VolumeRef;
  backend: string;
  config(only: boolean): BackupConfig;
  /** volatile.last_state.idmap of the instance or a snapshot of it. */
  idmap(snapshot?: string): string;
  running: boolean;
}

export interface BackupRequest {
  name: string;
  expiresAt: string;
  only: boolean;
  optimized: boolean;
  compression: string;
}

/** Makes and keeps backups of what this member has. Each is whole, row and file, or not there. */
export class Backups {
  /** Being written by this process. */
  readonly #writing = new Set<string>();

  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly files: BackupFiles,
    private readonly intents: TransferIntents,
  ) {}

  /** @throws Fault */
  async create(of: BackedUp, request: BackupRequest, operation: RunningOperation, call: CallContext): Promise<void> {
    const compression = parseCompression(request.compression);
    await using undo = new Undo(this.context.log);
    const { kind, ownerId } = of;
    const optimized = request.optimized && this.storage.capabilities(of.volume.pool).optimizedBackups;
    const row = { kind, ownerId, name: request.name, expiresAt: request.expiresAt, only: request.only, optimized };
    const { id } = await this.#submit(state.createBackup, row, call);
    const key = `${kind}-${id}`;
    this.#writing.add(key);
    try {
      undo.add('row', () => this.#submit(state.deleteBackup, { kind, id, quiet: true }, call));
      undo.add('file', () => this.files.remove(kind, id));
      const { file, path } = await this.files.begin(kind, id);
      const progress = new Progress((text) => operation.progress('create_backup', text));
      try {
        const work = this.files.workPath(kind, id);
        await mkdir(work, { mode: 0o700 });
        await using prepared = await this.#parts(of, { only: request.only, optimized }, work, { ...call, signal: operation.signal });
        await writeArchive(prepared.parts, file, path, compression, { signal: operation.signal, onBytes: (bytes) => progress.at(bytes) });
      } finally {
        await file.close();
      }
      await rm(this.files.workPath(kind, id), { recursive: true, force: true });
      await this.files.finish(kind, id);
      await this.#submit(state.backupMade, { kind, id }, call);
      await this.relink();
      undo.drop();
    } finally {
      this.#writing.delete(key);
    }
  }

  /** @throws Fault notFound, conflict */
  async rename(of: Pick<BackedUp, 'kind' | 'ownerId'>, name: string, newName: string, call: CallContext): Promise<void> {
    const { kind, id } = state.backup(this.#reader, of.kind, of.ownerId, name);
    await this.#submit(state.renameBackup, { kind, id, newName }, call);
    await this.relink();
  }

  /** @throws Fault notFound; conflict while it is being made */
  async remove(of: Pick<BackedUp, 'kind' | 'ownerId'>, name: string, call: CallContext): Promise<void> {
    const { kind, id } = state.backup(this.#reader, of.kind, of.ownerId, name);
    if (this.#writing.has(`${kind}-${id}`)) throw fault.conflict(`Backup "${name}" is being made`, { status: 400 });
    // The row first: a file without one goes at the next start.
    await this.#submit(state.deleteBackup, { kind, id }, call);
    await this.files.remove(kind, id);
    await this.relink();
  }

  /** What a crash left, and what became of backups while nobody looked: their owners went, or their time is over. */
  async settle(call: CallContext): Promise<void> {
    await this.files.start();
    for (const { kind, id, name } of await this.files.sweep(this.#rows)) {
      this.context.log.warn({ backup: name, kind }, 'removing a backup that was not finished');
      await this.#submit(state.deleteBackup, { kind, id, quiet: true }, call);
    }
    await this.relink();
  }

  /** Rows have changed by what happened to their owners: files and links follow. */
  async follow(): Promise<void> {
    await this.relink();
    await this.files.sweep(this.#rows);
  }

  async expire(call: CallContext): Promise<void> {
    for (const { kind, ownerId, name } of state.backupsOn(this.#reader, this.context.server.memberId, this.context.clock.now())) {
      await this.remove({ kind, ownerId }, name, call).catch((error: unknown) => {
        this.context.log.warn({ err: error, backup: name }, 'could not remove an expired backup');
      });
    }
  }

  relink(): Promise<void> {
    return this.files.link(this.#rows);
  }

  readonly #rows = (): state.PlacedBackup[] => state.backupsOn(this.#reader, this.context.server.memberId);

  /** What goes into the archive, in order, all of it mounted where the container's owners are seen. */
  async #parts(
    of: BackedUp,
    { only, optimized }: { only: boolean; optimized: boolean },
    work: string,
    call: CallContext & { signal: AbortSignal },
  ): Promise<AsyncDisposable & { parts: ArchivePart[] }> {
    const stack = new AsyncDisposableStack();
    try {
      const config = of.config(only);
      const snapshots = config.volume_snapshots.map(({ name }) => name);
      const index = join(work, 'index.yaml');
      const { name, backend, type, volume } = of;
      await writeFile(index, renderIndex({ name, backend, pool: volume.pool, snapshots, optimized, optimized_header: optimized, type, config }), {
        mode: 0o644,
      });
      const parts: ArchivePart[] = [{ path: index, name: 'backup/index.yaml' }];
      const live = stack.use(await this.storage.mount(volume));
      if (type !== 'custom') await writeBackupYaml(live.path, renderBackupConfig(config));
      const own = type === 'custom' ? 'volume' : 'container';
      if (optimized) {
        const files = await this.storage.exportOptimized(volume, snapshots, join(work, 'optimized'), call.signal);
        parts.push({ path: files.headerPath, name: 'backup/optimized_header.yaml' });
        for (const stream of files.streams) parts.push({ path: stream.path, name: streamName(own, stream) });
        return { parts, [Symbol.asyncDispose]: () => stack.disposeAsync() };
      }
      let number = 0;
      const show = async (mounted: MountedVolume, idmap: string): Promise<string> =>
        stack.use(await unshifted(mounted.path, idmapFromJson(idmap), join(work, `view-${number++}`))).path;
      const directory = own === 'volume' ? 'volume-snapshots' : 'snapshots';
      for (const snapshot of snapshots) {
        const mounted = stack.use(await this.storage.mountSnapshot(volume, snapshot));
        parts.push({ path: await show(mounted, of.idmap(snapshot)), name: `backup/${directory}/${snapshot}` });
      }
      const still = of.running && !this.storage.capabilities(volume.pool).runningCopyFreeze ? stack.use(await this.#still(volume, call)) : live;
      parts.push({ path: await show(still, of.idmap()), name: `backup/${own}` });
      return { parts, [Symbol.asyncDispose]: () => stack.disposeAsync() };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  /** What runs, as it is at one moment: a clone that goes when the archive is written. */
  async #still(volume: VolumeRef, call: CallContext): Promise<MountedVolume> {
    const clone = { ...volume, name: `.backup-${randomBytes(6).toString('hex')}` };
    const intent = this.intents.begin({ kind: 'temporary', volume: clone });
    try {
      await this.storage.create(clone, {}, { kind: 'copy', from: volume, snapshots: false }, call);
      const mounted = await this.storage.mount(clone);
      return {
        path: mounted.path,
        [Symbol.asyncDispose]: async () => {
          await mounted[Symbol.asyncDispose]();
          await this.storage.remove(clone);
          this.intents.settle(intent);
        },
      };
    } catch (error) {
      this.intents.settle(intent);
      throw error;
    }
  }

  async #submit<P, R>(command: Command<P, R>, payload: P, { identity, requestId }: CallContext): Promise<R> {
    return (await this.context.replica.submit(command, payload, { identity, requestId })).result;
  }

  get #reader() {
    return this.context.replica.reader;
  }
}

/** Beside the root file system, where LXD looks for it; never half written. */
export async function writeBackupYaml(volumePath: string, text: string): Promise<void> {
  const path = join(volumePath, 'backup.yaml');
  await rm(`${path}.new`, { force: true });
  await writeFile(`${path}.new`, text, { mode: 0o400, flag: 'wx' });
  await rename(`${path}.new`, path);
}
