import type { Operation } from '#api-contract';
import { isTrue } from '#config-keys';
import { Progress } from '#images/host';
import { fault, parseSize } from '#kit';
import type { CallContext, HostContext } from '#members';
import type { Operations, RunningOperation } from '#operations/host';
import type { Reader } from '#replica/state';
import type { StorageHost, VolumeRef } from '#storage/host';
import {
  configOn,
  createSnapshot,
  deleteSnapshot,
  findVolume,
  pool as poolNamed,
  type VolumeRecord,
  volumeSnapshots,
  volumeUrl,
} from '#storage/state';
import { compareSnapshots } from '../model/index.js';
import { volumeConfig } from './backup-config.js';
import { migrationOperation } from './instance-migrations.js';
import type { TransferIntents } from './intents.js';
import type { OperationAddress } from './migration/dial.js';
import { type Offer, receive, type ReceivePlan } from './migration/receiver.js';
import { send, type SendPlan } from './migration/sender.js';
import { offeredVolumeSnapshot } from './migration/snapshots.js';
import type { VolumeReceiver } from './volume-receiver.js';

export interface ReceiveVolume {
  description: string;
  /** Undefined: the sender's. */
  config?: Record<string, string>;
  volumeOnly: boolean;
  refresh: boolean;
  source?: OperationAddress;
  requestProject: string;
}

/** Custom volumes that go to other servers and come from them. */
export class VolumeMigrations {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly operations: Operations,
    private readonly volumes: VolumeReceiver,
    private readonly intents: TransferIntents,
  ) {}

  send(
    record: VolumeRecord,
    { volumeOnly, target, requestProject }: { volumeOnly: boolean; target?: OperationAddress; requestProject: string },
    call: CallContext,
  ): Operation {
    if (record.contentType !== 'filesystem')
      throw fault.unsupported(`Volumes of content type "${record.contentType}" cannot be sent to other servers`, { status: 400 });
    const taken = volumeOnly ? [] : volumeSnapshots(this.#reader, record.id);
    const plan: SendPlan = {
      snapshots: taken.map(({ name, config }) => offeredVolumeSnapshot(name, config)),
      index: (names) => {
        const config = volumeConfig(this.#reader, record, this.context.server.memberName(), volumeOnly);
        return { ...config, volume_snapshots: config.volume_snapshots.filter(({ name }) => names.includes(name)) };
      },
      mount: (snapshot) => (snapshot === undefined ? this.storage.mount(record) : this.storage.mountSnapshot(record, snapshot)),
      ...this.#transport(record.pool),
      running: false,
    };
    const about = { description: 'Migrating storage volume', project: requestProject, resources: { storage_volumes: [volumeUrl(record)] } };
    return migrationOperation(this.operations, about, target, call, (links, operation) =>
      send(links.control, links.fs, plan, { signal: operation.signal, onProgress: progressOf(operation, record.name) }),
    );
  }

  receive(ref: VolumeRef, request: ReceiveVolume, call: CallContext): Operation {
    const existing = findVolume(this.#reader, ref, this.context.server.memberId);
    if (existing && !request.refresh) throw fault.conflict('Volume by that name already exists');
    const about = { description: 'Creating storage volume', project: request.requestProject, resources: { storage_volumes: [volumeUrl(ref)] } };
    return migrationOperation(this.operations, about, request.source, call, async (links, operation) => {
      const plan = existing ? this.#refreshPlan(existing, request, call) : this.#createPlan(ref, request, call, operation.signal);
      await receive(links.control, links.fs, plan, { signal: operation.signal, onProgress: progressOf(operation, ref.name) });
    });
  }

  #createPlan(ref: VolumeRef, request: ReceiveVolume, call: CallContext, signal: AbortSignal): ReceivePlan {
    return {
      ...this.#transport(ref.pool),
      refresh: false,
      choose: async (offered) => (request.volumeOnly ? [] : offered),
      make: async (offer, { snapshot, volume }) => {
        const { index } = offer;
        const snapshots = rowsOf(offer);
        await this.volumes.make(
          ref,
          {
            description: request.description || (index?.volume?.description ?? ''),
            config: request.config ?? index?.volume?.config ?? {},
            snapshots,
          },
          {
            kind: 'fill',
            fill: async (path, filling, take) => {
              for (const { name } of snapshots) {
                await snapshot(name, path, filling);
                await take(name);
              }
              await volume('', path, filling);
            },
          },
          call,
          signal,
        );
      },
    };
  }

  #refreshPlan(target: VolumeRecord, request: ReceiveVolume, call: CallContext): ReceivePlan {
    const as = { identity: call.identity, requestId: call.requestId };
    const { memberId } = this.context.server;
    const volume: VolumeRef = { pool: target.pool, project: target.project, type: target.type, name: target.name };
    return {
      ...this.#transport(target.pool),
      refresh: true,
      choose: async (offered) => {
        if (this.storage.isMounted(volume)) throw fault.conflict('Volume is still in use by running instances', { status: 400 });
        if (request.volumeOnly) return [];
        // Of volumes no server tells when a snapshot was made: names must do.
        const theirs = offered.map((one) => ({ name: one.name ?? '', createdAt: 0, one }));
        const { send: wanted, remove } = compareSnapshots(
          theirs,
          volumeSnapshots(this.#reader, target.id).map(({ name }) => ({ name, createdAt: 0 })),
        );
        for (const name of remove) {
          await this.storage.removeSnapshot(volume, name);
          await this.context.replica.submit(deleteSnapshot, { volume, memberId, name }, as);
        }
        return wanted.map(({ one }) => one);
      },
      make: async (offer, incoming) => {
        await using mounted = await this.storage.mount(volume);
        for (const { name, ...about } of rowsOf(offer)) {
          await incoming.snapshot(name, mounted.path);
          await this.intents.during({ kind: 'snapshot', volume, snapshot: name }, async () => {
            await this.storage.snapshot(volume, name);
            await this.context.replica.submit(createSnapshot, { volume, memberId, name, ...about }, as);
          });
        }
        await incoming.volume('', mounted.path);
      },
    };
  }

  #transport(name: string): { compress: boolean; bandwidthBytes: number } {
    const config = configOn(poolNamed(this.#reader, name), this.context.server.memberId);
    return { compress: isTrue(config['rsync.compression'], true), bandwidthBytes: parseSize(config['rsync.bwlimit'] ?? '') };
  }

  get #reader(): Reader {
    return this.context.replica.reader;
  }
}

/** What the index says of the snapshots that come, else what their offer says. */
const rowsOf = ({ snapshots, index }: Offer) =>
  snapshots.map((one) => {
    const about = index?.volume_snapshots.find(({ name }) => name === one.name);
    const config = about?.config ?? Object.fromEntries(one.config.map(({ key, value }) => [key ?? '', value ?? '']));
    const expiresAt = about && !about.expires_at.startsWith('0001-') ? about.expires_at : '';
    return { name: one.name ?? '', description: about?.description ?? '', config, expiresAt };
  });

function progressOf(operation: RunningOperation, name: string): (what: string, bytes: number) => void {
  const progress = new Progress((text) => operation.progress('fs', `${name}: ${text}`));
  return (_, bytes) => progress.at(bytes);
}
