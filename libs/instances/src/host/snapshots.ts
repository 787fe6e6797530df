import { Undo, fault } from '#kit';
import type { CallContext } from '#members';
import { addExpiry, isRunning, renderTemplate } from '../model/index.js';
import * as state from '../state/index.js';
import type { InstanceRecord } from '../state/index.js';
import type { InstanceIntents } from './intents.js';
import type { OwnedDevices } from './owned-devices.js';
import type { InstancePower } from './power.js';
import type { InstanceTools } from './tools.js';

export interface NewSnapshot {
  name: string;
  stateful: boolean;
  /** '' never; undefined: as the instance's snapshots.expiry says. */
  expiresAt?: string;
}

/** Snapshots of this member's instances: rows and bytes together. */
export class InstanceSnapshots {
  constructor(
    private readonly tools: InstanceTools,
    private readonly power: InstancePower,
    private readonly devices: OwnedDevices,
    private readonly intents: InstanceIntents,
  ) {}

  /** @throws Fault; then nothing of it is left */
  async create(record: InstanceRecord, wanted: NewSnapshot, by: CallContext): Promise<void> {
    if (wanted.stateful) throw fault.unsupported("Unable to create a stateful snapshot. CRIU isn't installed");
    using _held = await this.tools.locks.take(record.id, 'snapshot');
    await this.#createHeld(record, wanted, by);
  }

  /** Of an instance that is about to start, if its schedule says `@startup`. Whoever starts it holds it. @throws Fault */
  async atStartup(record: InstanceRecord, by: CallContext): Promise<void> {
    const words = (record.expandedConfig['snapshots.schedule'] ?? '').toLowerCase().split(/\s*,\s*/);
    if (words.includes('@startup')) await this.#createHeld(record, { name: this.nextName(record), stateful: false }, by);
  }

  async #createHeld(record: InstanceRecord, { name, stateful, expiresAt }: NewSnapshot, by: CallContext): Promise<void> {
    const { writer, ports, log } = this.tools;
    const { project, name: instance } = record;
    await this.intents.during({ kind: 'snapshot', id: record.id, snapshot: name }, async () => {
      await using undo = new Undo(log);
      await writer.submit(state.createSnapshot, { project, instance, name, stateful, expiresAt: expiresAt ?? this.#expiry(record) }, by);
      undo.add('record', () => writer.submit(state.deleteSnapshot, { project, instance, name, quiet: true }, by));
      await using _still = await this.power.still(record);
      await ports.storage.snapshot(state.rootVolume(record), name);
      undo.drop();
    });
  }

  #expiry({ expandedConfig }: InstanceRecord): string {
    return addExpiry(this.tools.context.clock.now(), expandedConfig['snapshots.expiry'] ?? '')?.toISOString() ?? '';
  }

  /** Nothing there is success. */
  async remove(record: InstanceRecord, name: string, by: CallContext): Promise<void> {
    using _held = await this.tools.locks.take(record.id, 'snapshot');
    await this.intents.during({ kind: 'delete-snapshot', id: record.id, snapshot: name }, () => this.removeWhole(record, name, by));
  }

  async removeWhole(record: InstanceRecord, name: string, by: CallContext, quiet = false): Promise<void> {
    await this.tools.ports.storage.removeSnapshot(state.rootVolume(record), name);
    await this.tools.writer.submit(state.deleteSnapshot, { project: record.project, instance: record.name, name, quiet }, by);
  }

  /** @throws Fault */
  async rename(record: InstanceRecord, name: string, newName: string, by: CallContext): Promise<void> {
    const { locks, writer, ports, log } = this.tools;
    using _held = await locks.take(record.id, 'snapshot');
    await this.intents.during({ kind: 'rename-snapshot', id: record.id, name, newName }, async () => {
      await using undo = new Undo(log);
      const { project, name: instance } = record;
      await writer.submit(state.renameSnapshot, { project, instance, name, newName }, by);
      undo.add('record', () => writer.submit(state.renameSnapshot, { project, instance, name: newName, newName: name }, by));
      await ports.storage.renameSnapshot(state.rootVolume(record), name, newName);
      undo.drop();
    });
  }

  /** The instance becomes what it was; one that runs is stopped for it and started again. @throws Fault */
  async restore(record: InstanceRecord, name: string, by: CallContext): Promise<void> {
    const { locks, writer, ports, reader } = this.tools;
    const snapshot = state.findSnapshot(reader, record.id, name);
    if (!snapshot) throw fault.notFound(`Snapshot ${record.name}/${name} does not exist`);
    using held = await locks.take(record.id, 'restore');
    const runs = isRunning((await this.power.power(record)).state);
    if (runs) await this.power.stopHeld(record, by, held);
    await this.intents.during({ kind: 'restore', id: record.id, snapshot: name }, async () => {
      await ports.storage.restore(state.rootVolume(record), name);
      await this.restoreRecord(record, snapshot, by);
    });
    if (runs) await this.power.startHeld(record, by, held);
    await writer.recordSurely(record, { lifecycle: [{ action: 'instance-restored', context: { snapshot: `${record.name}/${name}` } }] }, by);
  }

  async restoreRecord(record: InstanceRecord, snapshot: state.SnapshotRecord, by: CallContext): Promise<void> {
    const { project, name, architecture, profiles } = record;
    const { description, ephemeral, config, devices } = snapshot;
    const before = this.tools.again(record);
    const put = { architecture, profiles, description, ephemeral, config, devices };
    await this.tools.writer.submit(state.updateInstance, { project, name, put, byUser: false, restored: snapshot.name }, by);
    await this.devices.change(before, this.tools.again(record), 0, by);
  }

  /** A name for who gave none: by snapshots.pattern. @throws Fault invalid */
  nextName(record: InstanceRecord, defaultPattern = 'snap%d'): string {
    const names = state.snapshotNames(this.tools.reader, record.id);
    const template = record.expandedConfig['snapshots.pattern'] || defaultPattern;
    let pattern = renderTemplate(template, { creation_date: this.tools.context.clock.now() });
    if (pattern.split('%d').length > 2) throw fault.invalid(`Snapshot pattern may contain '%d' only once`);
    if (!pattern.includes('%d')) {
      if (!names.includes(pattern)) return pattern;
      pattern += '-%d';
    }
    const [before, after] = pattern.split('%d') as [string, string];
    const numbers = names
      .filter((name) => name.startsWith(before) && name.endsWith(after))
      .map((name) => name.slice(before.length, name.length - after.length))
      .filter((text) => /^\d{1,9}$/.test(text))
      .map(Number);
    return pattern.replace('%d', String(Math.max(-1, ...numbers) + 1));
  }
}
