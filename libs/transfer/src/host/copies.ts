import type { DevicesMap, InstanceType } from '#api-contract';
import type { Creation, InstancesAgent } from '#instances/host';
import {
  findInstance,
  type InstanceRecord,
  type NewSnapshotRow,
  profileProject,
  rootVolume,
  snapshot as snapshotNamed,
  type SnapshotRecord,
  snapshots,
} from '#instances/state';
import { isRootDisk, rootPool } from '#instances/model';
import { fault } from '#kit';
import type { CallContext, HostContext } from '#members';
import { expand } from '#profiles/model';
import { profilesNamed } from '#profiles/state';
import type { Reader } from '#replica/state';
import type { StorageHost, VolumeRef } from '#storage/host';
import { findSnapshot as findVolumeSnapshot, volume as volumeNamed } from '#storage/state';
import { compareSnapshots, copiedConfig } from '../model/index.js';
import { addSnapshots } from '../state/index.js';
import type { TransferIntents } from './intents.js';
import { onPool } from './on-pool.js';
import { wordsOf } from './volume-words.js';

/** POST /1.0/instances with source.type copy, as the gateway settled it. */
export interface CopyRequest {
  project: string;
  name: string;
  type: InstanceType;
  description: string;
  ephemeral: boolean;
  config: Record<string, string>;
  devices: DevicesMap;
  /** Absent: the source's. */
  profiles?: readonly string[];
  sourceProject: string;
  source: string;
  /** Of the source; '' for the instance itself. */
  snapshot: string;
  instanceOnly: boolean;
  refresh: boolean;
  allowInconsistent: boolean;
}

/** Copies of instances of this member to this member. */
export class InstanceCopies {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly instances: InstancesAgent,
    private readonly intents: TransferIntents,
  ) {}

  /** @throws Fault; then nothing of a new one is left */
  async copy(request: CopyRequest, call: CallContext, signal: AbortSignal): Promise<void> {
    const from = this.instances.tools.named(request.sourceProject, request.source);
    const target = request.refresh ? findInstance(this.#reader, request.project, request.name) : undefined;
    if (target) return this.refresh(from, target, request, call);
    const past = request.snapshot === '' ? undefined : snapshotNamed(this.#reader, from.id, request.snapshot);
    const profiles = request.profiles ?? from.profiles;
    const devices = this.#devices(request, past ?? from, from, profiles);
    const pool = rootPool(expand(profilesNamed(this.#reader, profileProject(this.#reader, request.project), profiles), {}, devices).devices);
    const taken = request.instanceOnly || past ? [] : snapshots(this.#reader, from.id);
    const volume = volumeNamed(this.#reader, rootVolume(from), from.memberId);
    const creation: Creation = {
      volume: wordsOf(past ? findVolumeSnapshot(this.#reader, volume.id, past.name) : volume),
      project: request.project,
      name: request.name,
      type: from.type,
      architecture: from.architecture,
      description: request.description || (past ?? from).description,
      ephemeral: request.ephemeral,
      config: copiedConfig((past ?? from).config, request.config),
      devices,
      profiles,
      source: { kind: 'copy', from: rootVolume(from), ...(past ? { snapshot: past.name } : {}), snapshots: taken.length > 0 },
      snapshots: taken.map((one) => this.#row(one, volume.id, request.project, profiles, pool)),
      template: 'copy',
    };
    await using _ = await this.#still(from, past, request.allowInconsistent);
    await this.instances.lifecycle.create(creation, call, signal);
  }

  /** Makes an instance what another is: its files, and those snapshots that it lacks. Its record stays. @throws Fault */
  async refresh(from: InstanceRecord, to: InstanceRecord, { instanceOnly, allowInconsistent }: CopyRequest, call: CallContext): Promise<void> {
    const { tools, power } = this.instances;
    using _held = await tools.locks.take(to.id, 'copy');
    if ((await power.power(to)).state !== 'stopped') throw fault.conflict('Cannot refresh a running instance', { status: 400 });
    const [source, target] = [rootVolume(from), rootVolume(to)];
    if (!instanceOnly) {
      const volumeId = volumeNamed(this.#reader, source, from.memberId).id;
      const compared = (all: SnapshotRecord[]) => all.map((one) => ({ ...one, createdAt: Date.parse(one.createdAt), row: one }));
      const { send, remove } = compareSnapshots(compared(snapshots(this.#reader, from.id)), compared(snapshots(this.#reader, to.id)));
      for (const name of remove) await this.instances.snapshots.removeWhole(to, name, call);
      for (const { name, row } of send)
        await this.#addSnapshot(to, this.#row(row, volumeId, to.project, to.profiles, target.pool), call, () =>
          this.storage.copySnapshot(source, name, target),
        );
    }
    await using _ = await this.#still(from, undefined, allowInconsistent);
    await this.storage.refresh(target, source);
    await tools.writer.record(to, { volatile: { 'volatile.last_state.idmap': from.config['volatile.last_state.idmap'] ?? '[]' } }, call);
  }

  /** Bytes, then the row that says they are whole. */
  async #addSnapshot(to: InstanceRecord, row: NewSnapshotRow, call: CallContext, bytes: () => Promise<void>): Promise<void> {
    const volume: VolumeRef = rootVolume(to);
    await this.intents.during({ kind: 'snapshot', volume, snapshot: row.name }, async () => {
      await bytes();
      try {
        const payload = { project: to.project, name: to.name, snapshots: [row] };
        await this.context.replica.submit(addSnapshots, payload, { identity: call.identity, requestId: call.requestId });
      } catch (error) {
        await this.storage.removeSnapshot(volume, row.name);
        throw error;
      }
    });
  }

  /** What the request says, else the source's own; a root disk on the pool of whichever has one. */
  #devices(request: CopyRequest, of: { devices: DevicesMap }, from: InstanceRecord, profiles: readonly string[]): DevicesMap {
    const devices = { ...of.devices, ...request.devices };
    const expanded = expand(profilesNamed(this.#reader, profileProject(this.#reader, request.project), profiles), {}, devices).devices;
    if (Object.values(expanded).some((device) => isRootDisk(device) && device.pool)) return devices;
    return onPool(this.#reader, request.project, devices, profiles, rootPool(from.expandedDevices));
  }

  #row(one: SnapshotRecord, volumeId: number, project: string, profiles: readonly string[], pool: string): NewSnapshotRow {
    const { name, description, ephemeral, config, createdAt, expiresAt } = one;
    const devices = onPool(this.#reader, project, one.devices, profiles, pool);
    const volume = wordsOf(findVolumeSnapshot(this.#reader, volumeId, name));
    return { name, description, ephemeral, config, devices, createdAt, expiresAt, volume };
  }

  /** Holds what runs still while it is copied, where the driver copies file by file. */
  async #still(from: InstanceRecord, past: SnapshotRecord | undefined, allowInconsistent: boolean): Promise<AsyncDisposable> {
    const slow = this.storage.capabilities(rootVolume(from).pool).runningCopyFreeze;
    if (past || allowInconsistent || !slow) return { [Symbol.asyncDispose]: async () => {} };
    return this.instances.power.still(from);
  }

  get #reader(): Reader {
    return this.context.replica.reader;
  }
}
