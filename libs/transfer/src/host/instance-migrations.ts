import { chmod, chown } from 'node:fs/promises';
import type { DevicesMap, Operation } from '#api-contract';
import { isTrue } from '#config-keys';
import { idmapFromJson } from '#host-kit';
import { Progress } from '#images/host';
import type { InstancesAgent } from '#instances/host';
import { isRootDisk, isRunning, rootPool } from '#instances/model';
import {
  findInstance,
  type InstanceRecord,
  instanceUrl,
  profileProject,
  rootVolume,
  snapshot as snapshotNamed,
  type SnapshotRecord,
  snapshots,
} from '#instances/state';
import { fault, parseSize } from '#kit';
import type { CallContext, HostContext, MigrationSnapshot } from '#members';
import type { Operations, RunningOperation } from '#operations/host';
import { expand } from '#profiles/model';
import { findProfile, profilesNamed } from '#profiles/state';
import type { Reader } from '#replica/state';
import type { MountedVolume, StorageHost } from '#storage/host';
import { configOn, findPool, pool as poolNamed } from '#storage/state';
import { compareSnapshots, withoutRun } from '../model/index.js';
import { addSnapshots } from '../state/index.js';
import { instanceConfig } from './backup-config.js';
import { checkInstanceTree } from './importer.js';
import type { TransferIntents } from './intents.js';
import type { OperationAddress } from './migration/dial.js';
import { type Links, visit, Waiting } from './migration/meeting.js';
import { type Offer, receive, type ReceivePlan } from './migration/receiver.js';
import { send, type SendPlan } from './migration/sender.js';
import { idmapOffer, offeredIdmap, offeredSnapshot, snapshotOffer, type SnapshotOffer } from './migration/snapshots.js';
import { onPool } from './on-pool.js';
import { wordsOf } from './volume-words.js';

export interface SendRequest {
  /** Of a snapshot to be sent as an instance; '' for the instance itself. */
  snapshot: string;
  live: boolean;
  instanceOnly: boolean;
  allowInconsistent: boolean;
  /** Where the receiver waits; else it comes. */
  target?: OperationAddress;
}

/** POST /1.0/instances with source.type migration, as the gateway settled it. */
export interface ReceiveRequest {
  project: string;
  name: string;
  architecture: string;
  description: string;
  ephemeral: boolean;
  config: Record<string, string>;
  devices: DevicesMap;
  profiles: readonly string[];
  baseImage: string;
  live: boolean;
  instanceOnly: boolean;
  refresh: boolean;
  /** Where the sender waits; else it comes. */
  source?: OperationAddress;
}

/** Instances that go to other servers and come from them, LXD's among them. */
export class InstanceMigrations {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly instances: InstancesAgent,
    private readonly operations: Operations,
    private readonly intents: TransferIntents,
  ) {}

  /** The sending side. @throws Fault before there is an operation */
  async send(record: InstanceRecord, request: SendRequest, call: CallContext): Promise<Operation> {
    const past = request.snapshot === '' ? undefined : snapshotNamed(this.#reader, record.id, request.snapshot);
    const running = !past && isRunning((await this.instances.power.power(record)).state);
    if (request.live && running)
      throw fault.unsupported("Unable to perform container live migration. CRIU isn't installed on the source server", { status: 500 });
    const plan = this.#sendPlan(record, past, running, request);
    return this.#operation('Migrating instance', record, request.target, call, async (links, operation) =>
      send(links.control, links.fs, plan, { signal: operation.signal, onProgress: this.#progress(operation, record.name) }),
    );
  }

  #sendPlan(record: InstanceRecord, past: SnapshotRecord | undefined, running: boolean, request: SendRequest): SendPlan {
    const volume = rootVolume(record);
    const only = request.instanceOnly || past !== undefined;
    const offered = only ? [] : snapshots(this.#reader, record.id);
    const { power } = this.instances;
    const slow = this.storage.capabilities(volume.pool).runningCopyFreeze;
    return {
      offer: { idmap: offeredIdmap(idmapFromJson((past ?? record).config['volatile.last_state.idmap'] ?? '')) },
      snapshots: offered.map((one) => offeredSnapshot(one, record)),
      index: (names) => {
        const config = instanceConfig(this.#reader, record, this.context.server.memberName(), only);
        return { ...config, volume_snapshots: config.volume_snapshots.filter(({ name }) => names.includes(name)) };
      },
      mount: (snapshot = past?.name): Promise<MountedVolume> =>
        snapshot === undefined ? this.storage.mount(volume) : this.storage.mountSnapshot(volume, snapshot),
      ...this.#transport(volume.pool),
      running,
      still: running && slow && !request.allowInconsistent ? () => power.still(record) : undefined,
    };
  }

  /** The receiving side. @throws Fault before there is an operation */
  receive(request: ReceiveRequest, call: CallContext): Promise<Operation> {
    if (request.live && request.source?.secrets['criu'])
      throw fault.unsupported("Unable to perform container live migration. CRIU isn't installed on the destination server", { status: 500 });
    const { project, name } = request;
    const target = request.refresh ? findInstance(this.#reader, project, name) : undefined;
    if (!target && findInstance(this.#reader, project, name))
      throw fault.conflict('Failed creating instance record: Add instance info to the database: This "instances" entry already exists', {
        status: 500,
      });
    const devices = this.#devices(request);
    return this.#operation('Creating instance', { project, name }, request.source, call, async (links, operation) => {
      const plan = target ? this.#refreshPlan(target, request, call) : this.#createPlan(request, devices, call, operation.signal);
      try {
        await receive(links.control, links.fs, plan, { signal: operation.signal, onProgress: this.#progress(operation, name) });
      } catch (error) {
        throw fault.internal(`Error transferring instance data: ${(error as Error).message}`, { cause: error });
      }
    });
  }

  #createPlan(request: ReceiveRequest, devices: DevicesMap, call: CallContext, signal: AbortSignal): ReceivePlan {
    const pool = this.#poolOf(request, devices);
    return {
      ...this.#transport(pool),
      refresh: false,
      choose: async (offered) => (request.instanceOnly ? [] : offered),
      make: async (offer, { snapshot, volume }) => {
        const offers = offer.snapshots.map((one) => this.#offer(one));
        const { config, ...about } = request;
        await this.instances.lifecycle.create(
          {
            ...about,
            type: 'container',
            config: {
              ...withoutRun(config),
              ...(request.baseImage ? { 'volatile.base_image': request.baseImage } : {}),
              'volatile.last_state.idmap': idmapOffer(offer.header.idmap),
            },
            devices,
            template: 'copy',
            volume: wordsOf(offer.index?.volume),
            snapshots: offers.map((one) => this.#row(one, request.project, request.profiles, pool, offer)),
            source: {
              kind: 'fill',
              fill: async (path, filling, take) => {
                for (const { name } of offers) {
                  await snapshot(name, path, filling);
                  await asVolume(path);
                  await take(name);
                }
                await volume('', path, filling);
                await asVolume(path);
              },
            },
          },
          call,
          signal,
        );
      },
    };
  }

  #refreshPlan(target: InstanceRecord, request: ReceiveRequest, call: CallContext): ReceivePlan {
    const { tools, power } = this.instances;
    const volumeRef = rootVolume(target);
    return {
      ...this.#transport(volumeRef.pool),
      refresh: true,
      choose: async (offered) => {
        if (isRunning((await power.power(target)).state)) throw fault.conflict('Cannot refresh a running instance', { status: 400 });
        if (request.instanceOnly) return [];
        const theirs = offered.map((one) => ({ name: one.name ?? '', createdAt: (one.createdAt ?? 0) * 1000, one }));
        const ours = snapshots(this.#reader, target.id).map(({ name, createdAt }) => ({ name, createdAt: Date.parse(createdAt) }));
        const { send: wanted, remove } = compareSnapshots(theirs, ours);
        for (const name of remove) await this.instances.snapshots.removeWhole(target, name, call);
        return wanted.map(({ one }) => one);
      },
      make: async (offer, { snapshot, volume }) => {
        using _held = await tools.locks.take(target.id, 'copy');
        await using mounted = await this.storage.mount(volumeRef);
        for (const one of offer.snapshots.map((each) => this.#offer(each))) {
          await snapshot(one.name, mounted.path);
          await asVolume(mounted.path);
          await this.intents.during({ kind: 'snapshot', volume: volumeRef, snapshot: one.name }, async () => {
            await this.storage.snapshot(volumeRef, one.name);
            const row = this.#row(one, target.project, target.profiles, volumeRef.pool, offer);
            await tools.writer.submit(addSnapshots, { project: target.project, name: target.name, snapshots: [row] }, call);
          });
        }
        await volume('', mounted.path);
        await asVolume(mounted.path);
        await tools.writer.record(target, { volatile: { 'volatile.last_state.idmap': idmapOffer(offer.header.idmap) } }, call);
      },
    };
  }

  #offer(one: MigrationSnapshot): SnapshotOffer {
    return snapshotOffer(one, this.context.clock.now());
  }

  #row(one: SnapshotOffer, project: string, profiles: readonly string[], pool: string, offer: Offer) {
    const { name, config, ephemeral, createdAt, expiresAt } = one;
    const devices = onPool(this.#reader, project, one.devices, profiles, pool);
    const volume = wordsOf(offer.index?.volume_snapshots.find((each) => each.name === name));
    return { name, description: '', volume, config: withoutRun(config), devices, ephemeral, createdAt: createdAt.toISOString(), expiresAt };
  }

  /** A root disk on the pool that the request, or a profile, or the project's default profile names. @throws Fault invalid */
  #devices(request: ReceiveRequest): DevicesMap {
    const profilesIn = profileProject(this.#reader, request.project);
    const expanded = expand(profilesNamed(this.#reader, profilesIn, request.profiles), {}, request.devices).devices;
    const root = Object.values(expanded).find(isRootDisk);
    if (root?.pool && findPool(this.#reader, root.pool)) return request.devices;
    const fallback = Object.values(findProfile(this.#reader, profilesIn, 'default')?.devices ?? {}).find(isRootDisk)?.pool;
    if (!fallback) throw fault.invalid("Can't find a storage pool for the instance to use");
    return onPool(this.#reader, request.project, request.devices, request.profiles, fallback);
  }

  #poolOf(request: ReceiveRequest, devices: DevicesMap): string {
    const profilesIn = profileProject(this.#reader, request.project);
    return rootPool(expand(profilesNamed(this.#reader, profilesIn, request.profiles), {}, devices).devices);
  }

  #transport(name: string): { compress: boolean; bandwidthBytes: number } {
    const config = configOn(poolNamed(this.#reader, name), this.context.server.memberId);
    return { compress: isTrue(config['rsync.compression'], true), bandwidthBytes: parseSize(config['rsync.bwlimit'] ?? '') };
  }

  #progress(operation: RunningOperation, name: string): (what: string, bytes: number) => void {
    let current = '';
    let progress = new Progress((text) => operation.progress('fs', `${name}: ${text}`));
    return (what, bytes) => {
      if (what !== current) progress = new Progress((text) => operation.progress('fs', `${name}${what === '' ? '' : `/${what}`}: ${text}`));
      current = what;
      progress.at(bytes);
    };
  }

  async #operation(
    description: string,
    of: { project: string; name: string },
    address: OperationAddress | undefined,
    call: CallContext,
    work: (links: Links, operation: RunningOperation) => Promise<void>,
  ): Promise<Operation> {
    return migrationOperation(
      this.operations,
      { description, project: of.project, resources: { instances: [instanceUrl(of.project, of.name)] } },
      address,
      call,
      work,
    );
  }

  get #reader(): Reader {
    return this.context.replica.reader;
  }
}

/** An operation that visits the other side, or waits for it. */
export function migrationOperation(
  operations: Operations,
  about: { description: string; project: string; resources: Record<string, string[]> },
  address: OperationAddress | undefined,
  context: CallContext,
  work: (links: Links, operation: RunningOperation) => Promise<void>,
): Operation {
  const whole = async (operation: RunningOperation, meet: () => Promise<Links>): Promise<void> => {
    using links = await meet();
    await work(links, operation);
  };
  if (address) return operations.start({ ...about, context, mayCancel: true, run: (operation) => whole(operation, () => visit(address)) });
  const waiting = new Waiting();
  return operations.start({
    ...about,
    context,
    class: 'websocket',
    mayCancel: true,
    metadata: { ...waiting.secrets },
    sockets: { secrets: { ...waiting.secrets }, connect: (name, socket) => waiting.connect(name, socket) },
    run: (operation) => whole(operation, () => waiting.met(operation.signal)),
  });
}

/** rsync made the directory what it is on the other side; here nobody may look into it. What must be no link is none. */
async function asVolume(path: string): Promise<void> {
  await checkInstanceTree(path);
  await chown(path, 0, 0);
  await chmod(path, 0o100);
}
