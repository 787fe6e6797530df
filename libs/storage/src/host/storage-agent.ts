import { parseSize, fault } from '#kit';
import { type CallContext, type Calls, type HostContext, StorageAgentService, type StorageStatusReply, type VolumeMessage } from '#members';
import type { Operations } from '#operations/host';
import type { Warnings } from '#warnings/host';
import { offeredDrivers, parseContentType, parseVolumeType, snapshotName, type VolumeRef, volumeKey } from '../model/index.js';
import * as state from '../state/index.js';
import { CustomVolumes } from './custom-volumes.js';
import { DaemonVolumes } from './daemon-volumes.js';
import { Intents } from './intents.js';
import { LocalStorage } from './local-storage.js';
import { PoolLifecycle } from './pool-lifecycle.js';
import { Pools } from './pools.js';
import { recoverStorage } from './recovery.js';
import { driverFactories } from './registry.js';
import type { StorageHost } from './storage-host.js';

const expireEveryMs = 60_000;

export interface StorageAgentOptions {
  context: HostContext;
  operations: Operations;
  warnings: Warnings;
}

/** The storage of this member: what the agent starts first, offers to the gateway, and gives to the subjects above as `storage`. */
export class StorageAgent {
  readonly storage: StorageHost;
  readonly daemonVolumes: DaemonVolumes;
  readonly #context: HostContext;
  readonly #operations: Operations;
  readonly #pools: Pools;
  readonly #intents: Intents;
  readonly #local: LocalStorage;
  readonly #lifecycle: PoolLifecycle;
  readonly #custom: CustomVolumes;
  /** Custom volumes with a snapshot under way, so that names given by us differ. */
  readonly #namesTaken = new Set<string>();
  readonly #followers: (() => Promise<void>)[] = [];
  #expiry?: NodeJS.Timeout;

  constructor({ context, operations, warnings }: StorageAgentOptions) {
    this.#context = context;
    this.#operations = operations;
    this.#intents = new Intents(context.local);
    this.#pools = new Pools(context.replica.reader, context.server, warnings, context.log);
    this.#local = new LocalStorage(context, this.#pools, this.#intents);
    this.#lifecycle = new PoolLifecycle(context, this.#pools, this.#intents);
    this.#custom = new CustomVolumes(context, this.#local, this.#intents);
    this.storage = this.#local;
    this.daemonVolumes = new DaemonVolumes(context, this.#local);
  }

  /** Mounts the pools, settles what a crash left, and answers from then on. Before any instance is looked at. */
  async start(): Promise<void> {
    await this.#pools.start();
    await recoverStorage(this.#context, this.#pools, this.#intents, this.#local);
    await this.daemonVolumes.start();
    this.#context.members.serve(StorageAgentService, this.#calls());
    this.#expiry = setInterval(() => void this.#expireSnapshots(), expireEveryMs);
    this.#expiry.unref();
  }

  /** Makes a pool of the cluster on this member, which came later. `own`: its member-specific keys here. */
  joinPool(name: string, own: Record<string, string>, call: CallContext): Promise<void> {
    return this.#lifecycle.join(name, own, call);
  }

  /** This member leaves the cluster: what it has of a pool goes. Nothing may lie there any more. */
  leavePool(name: string): Promise<void> {
    return this.#lifecycle.leave(name);
  }

  /** `unmount` only when nothing runs on the pools any more. */
  async stop(options: { unmount: boolean }): Promise<void> {
    clearInterval(this.#expiry);
    await this.#pools.stop(options);
  }

  /** For who keeps something beside custom volumes: told, and waited for, before a rename or a removal is answered. */
  follow(listener: () => Promise<void>): void {
    this.#followers.push(listener);
  }

  async #told(): Promise<void> {
    for (const listener of this.#followers) await listener();
  }

  #calls(): Calls<typeof StorageAgentService> {
    return {
      makePool: async ({ pool }, call) => {
        await this.#context.replica.barrier();
        await this.#lifecycle.makeHere(pool, call);
        return {};
      },
      leavePool: async ({ pool }) => {
        await this.#lifecycle.leave(pool);
        return {};
      },
      createPool: async ({ name, driver, description, config }, call) => {
        await this.#lifecycle.create({ name, driver, description, config }, call);
        return {};
      },
      updatePool: async ({ name, description, config, ifMatch }, call) => {
        await this.#lifecycle.update(name, { description, config }, ifMatch || undefined, call);
        return {};
      },
      deletePool: async ({ pool }, call) => {
        await this.#lifecycle.remove(pool, call);
        return {};
      },
      poolResources: async ({ pool }) => ({ document: await this.#pools.driver(pool).resources() }),
      storageStatus: () => this.#status(),

      createVolume: async ({ volume, contentType, description, config }, call) => {
        await this.#custom.create({ ...refOf(volume), contentType: parseContentType(contentType), description, config }, call);
        return {};
      },
      copyVolume: async ({ volume, source, sourceSnapshot, description, config, hasConfig, snapshots, refresh, requestProject }, call) => {
        const [ref, from] = [refOf(volume), { from: refOf(source), snapshot: sourceSnapshot || undefined, snapshots }];
        const { id } = state.volume(this.#context.replica.reader, from.from);
        if (from.snapshot !== undefined) state.snapshot(this.#context.replica.reader, id, from.snapshot);
        return this.#operation('Copying storage volume', requestProject, {}, call, () =>
          refresh
            ? this.#custom.refresh(ref, from, call)
            : this.#custom.copy({ ...ref, description, config: hasConfig ? config : undefined }, from, call),
        );
      },
      moveVolume: async ({ volume, target, requestProject }, call) =>
        this.#operation('Moving storage volume', requestProject, {}, call, () => this.#custom.move(refOf(volume), refOf(target), call)),
      renameVolume: async ({ volume, newName }, call) => {
        await this.#custom.rename(refOf(volume), newName, call);
        await this.#told();
        return {};
      },
      changeVolume: async ({ volume, description, config, hasConfig, restore, ifMatch }, call) => {
        if (restore !== '') await this.#custom.restore(refOf(volume), restore, call);
        if (hasConfig || restore === '') await this.#custom.change(refOf(volume), { description, config }, ifMatch || undefined, call);
        return {};
      },
      deleteVolume: async (volume, call) => {
        const ref = refOf(volume);
        if (ref.type === 'image') await this.#local.removeImage(ref.name, call, ref.pool);
        else await this.#custom.remove(ref, call);
        await this.#told();
        return {};
      },
      volumeState: async (volume) => ({ document: { usage: await this.#usage(refOf(volume)) } }),

      createVolumeSnapshot: async ({ volume, name, byPattern, expiresAt, requestProject }, call) => {
        const ref = refOf(volume);
        return this.#snapshot(ref, name || (byPattern ? this.#nameByPattern(ref) : ''), expiresAt, requestProject, call);
      },
      renameVolumeSnapshot: async ({ volume, name, newName, requestProject }, call) => {
        const ref = refOf(volume);
        return this.#operation('Renaming storage volume snapshot', requestProject, snapshotsOf(ref), call, () =>
          this.#custom.renameSnapshot(ref, name, newName, call),
        );
      },
      deleteVolumeSnapshot: async ({ volume, name, requestProject }, call) => {
        const ref = refOf(volume);
        return this.#operation('Deleting storage volume snapshot', requestProject, snapshotsOf(ref), call, () =>
          this.#custom.removeSnapshot(ref, name, call),
        );
      },
    };
  }

  async #status(): Promise<StorageStatusReply> {
    const unavailable = state
      .pools(this.#context.replica.reader)
      .map(({ name }) => name)
      .filter((name) => !this.#pools.isAvailable(name));
    const probed = await Promise.all(
      offeredDrivers.map(async (name) => {
        const result = await driverFactories[name]!.probe();
        return result.state === 'ready' ? [{ name, version: result.version, remote: false }] : [];
      }),
    );
    return { unavailable, drivers: probed.flat() };
  }

  /** 0 where the driver has no quotas. @throws Fault unsupported (500 "Not supported") where it has them and they are off, as LXD has it */
  async #usage(ref: VolumeRef): Promise<{ used: number; total: number }> {
    const row = state.volume(this.#context.replica.reader, ref);
    const used = await this.#local.usage(ref);
    if (used === undefined && this.#pools.driver(ref.pool).quotas) throw fault.unsupported('Not supported', { status: 500 });
    return { used: used ?? 0, total: parseSize(row.config['size'] ?? '') };
  }

  async #snapshot(ref: VolumeRef, wanted: string, expiresAt: string | undefined, requestProject: string, call: CallContext) {
    const parent = state.volume(this.#context.replica.reader, ref);
    if (this.daemonVolumes.uses(ref)) throw fault.invalid('Volumes used by LXD itself cannot have snapshots');
    const name = wanted || this.#freeSnapshotName(ref, parent.id);
    if (state.findSnapshot(this.#context.replica.reader, parent.id, name)) throw fault.conflict(`Snapshot "${name}" already in use`);
    const expiry = expiresAt === undefined ? this.#custom.expiryFor(ref) : expiresAt === '' ? undefined : new Date(expiresAt);
    const key = `${volumeKey(ref)}/${name}`;
    this.#namesTaken.add(key);
    return this.#operation('Creating storage volume snapshot', requestProject, { storage_volumes: [state.volumeUrl(ref)] }, call, () =>
      this.#custom.snapshot(ref, name, expiry, call).finally(() => this.#namesTaken.delete(key)),
    );
  }

  #nameByPattern(ref: VolumeRef): string {
    const row = state.volume(this.#context.replica.reader, ref);
    const taken = state.volumeSnapshots(this.#context.replica.reader, row.id).map(({ name }) => name);
    return snapshotName(row.config['snapshots.pattern'] ?? '', this.#context.clock.now(), taken);
  }

  #freeSnapshotName(ref: VolumeRef, volumeId: number): string {
    let number = Number(state.nextSnapshotName(this.#context.replica.reader, volumeId).slice('snap'.length));
    while (this.#namesTaken.has(`${volumeKey(ref)}/snap${number}`)) number += 1;
    return `snap${number}`;
  }

  #operation(description: string, project: string, resources: Record<string, string[]>, context: CallContext, work: () => Promise<void>) {
    const named = Object.keys(resources).length > 0 ? { resources } : {};
    const operation = this.#operations.start({ description, project, ...named, context, run: () => work() });
    return { operation };
  }

  async #expireSnapshots(): Promise<void> {
    const { replica, server, clock, log } = this.#context;
    const call: CallContext = { identity: { protocol: 'internal', username: '', address: '' }, requestId: '' };
    for (const { volume, snapshot } of state.expiredSnapshots(replica.reader, server.memberId, clock.now())) {
      await this.#custom
        .removeSnapshot(volume, snapshot, call)
        .catch((error: unknown) => log.warn({ err: error, volume: volume.name, snapshot }, 'could not remove an expired snapshot'));
    }
  }
}

function refOf(message: VolumeMessage | undefined): VolumeRef {
  if (!message) throw fault.invalid('No volume given');
  const { pool, project, name } = message;
  return { pool, project, name, type: parseVolumeType(message.type) };
}

const snapshotsOf = (ref: VolumeRef): Record<string, string[]> => ({ storage_volume_snapshots: [state.volumeUrl(ref)] });
