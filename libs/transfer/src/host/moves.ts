import type { InstancesAgent } from '#instances/host';
import { isRunning } from '#instances/model';
import { findInstance, type InstanceRecord, profileProject, rootVolume, snapshots } from '#instances/state';
import { fault, Undo } from '#kit';
import type { CallContext, HostContext } from '#members';
import { findProfile } from '#profiles/state';
import type { Reader } from '#replica/state';
import type { StorageHost, VolumeRef } from '#storage/host';
import { findPool, findVolume, volume as volumeNamed } from '#storage/state';
import { moveInstance } from '../state/index.js';
import type { TransferIntents } from './intents.js';
import { onPool } from './on-pool.js';

export interface MoveRequest {
  newName: string;
  /** '' stays. */
  pool: string;
  project: string;
  instanceOnly: boolean;
}

/** Moves of instances between pools and projects of this member: the bytes are copied, the rows change in one step, then the old bytes go. */
export class InstanceMoves {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly instances: InstancesAgent,
    private readonly intents: TransferIntents,
  ) {}

  /** @throws Fault; then it is where it was */
  async move(before: InstanceRecord, request: MoveRequest, call: CallContext, signal: AbortSignal): Promise<void> {
    const { tools, power, devices } = this.instances;
    const to = { project: request.project || before.project, name: request.newName };
    using _held = await tools.locks.take(before.id, 'move');
    if (isRunning((await power.power(before)).state))
      throw fault.invalid(`Instance must be stopped to move between ${request.pool ? 'pools' : 'projects'} statelessly`);
    const other = findInstance(this.#reader, to.project, to.name);
    if (other && other.id !== before.id) throw fault.conflict(`Name "${to.name}" already in use`, { status: 409 });
    const pool = request.pool || rootVolume(before).pool;
    if (!findPool(this.#reader, pool)) throw fault.notFound('Storage pool not found');
    const profiles = this.#profiles(before, to.project);
    const payload = {
      id: before.id,
      to,
      profiles,
      config: before.config,
      devices: onPool(this.#reader, to.project, before.devices, profiles, pool),
      snapshotDevices: Object.fromEntries(
        snapshots(this.#reader, before.id).map((one) => [one.name, onPool(this.#reader, to.project, one.devices, profiles, pool)]),
      ),
      instanceOnly: request.instanceOnly,
    };
    const from = rootVolume(before);
    const target: VolumeRef = { ...from, ...to, pool };
    if (from.pool === pool && from.project === to.project) throw fault.conflict('Instance is already there', { status: 400 });
    if (findVolume(this.#reader, target, before.memberId)) throw fault.conflict('Volume by that name already exists');
    await this.intents.during({ kind: 'move', from, to: target }, async () => {
      await using undo = new Undo(this.context.log);
      const { config } = volumeNamed(this.#reader, from, before.memberId);
      await this.storage.create(target, config, { kind: 'copy', from, snapshots: !request.instanceOnly }, { ...call, signal });
      undo.add('copy', () => this.storage.remove(target));
      await devices.removed(before);
      undo.add('devices', () => devices.added(tools.again(before)));
      await this.context.replica.submit(moveInstance, payload, { identity: call.identity, requestId: call.requestId });
      undo.drop();
      await this.storage.remove(from);
      const after = tools.again(before);
      await this.instances.lifecycle.relocated(before, after);
      await devices.added(after);
    });
  }

  /** Of another project only those that it has by the same name, as LXD wants it. @throws Fault invalid */
  #profiles(before: InstanceRecord, project: string): string[] {
    const profilesIn = profileProject(this.#reader, project);
    for (const name of before.profiles) {
      if (!findProfile(this.#reader, profilesIn, name)) throw fault.invalid(`Requested profile "${name}" doesn't exist`, { status: 500 });
    }
    return before.profiles;
  }

  get #reader(): Reader {
    return this.context.replica.reader;
  }
}
