import { Undo } from '#kit';
import type { DevicesMap } from '#api-contract';
import type { DeviceOwner } from '#devices/host';
import type { CallContext } from '#members';
import { deviceChanges, deviceOrder, isRootDisk, type LxcLine } from '../model/index.js';
import type { InstanceRecord } from '../state/index.js';
import type { InstanceTools } from './tools.js';
import { internalContext } from './writer.js';

/** The devices of this member's instances: from the words of the API to the drivers that know them. */
export class OwnedDevices {
  constructor(private readonly tools: InstanceTools) {}

  /** Before a start: everything made, in order. What was made is taken back by `undo`. */
  async prepare(record: InstanceRecord, undo: Undo): Promise<{ lines: LxcLine[]; afterStart: ((pid: number) => Promise<void>)[] }> {
    const lines: LxcLine[] = [];
    const afterStart: ((pid: number) => Promise<void>)[] = [];
    for (const name of deviceOrder(record.expandedDevices)) {
      const device = record.expandedDevices[name]!;
      const driver = this.tools.ports.devices.driver(device);
      const owner = this.owner(record, name);
      undo.add(`device ${name}`, () => driver.detach(owner, name, device));
      const prepared = await driver.prepare(owner, name, device);
      lines.push(...prepared.lxc);
      if (prepared.afterStart) afterStart.push(prepared.afterStart);
    }
    return { lines, afterStart };
  }

  /** After the end of an instance: what is left of its devices on the host. A device that fails does not keep the others. */
  async release(record: InstanceRecord): Promise<void> {
    await this.#each(
      record,
      'could not detach a device',
      (owner, name, device) => this.tools.ports.devices.driver(device).detach(owner, name, device),
      true,
    );
  }

  /** The instance is new, or has these devices now. @throws Fault conflict when one cannot be promised what it asks for */
  async added(record: InstanceRecord, names: readonly string[] = Object.keys(record.expandedDevices)): Promise<void> {
    for (const name of names) {
      const device = record.expandedDevices[name]!;
      await this.tools.ports.devices.driver(device).added?.(this.owner(record, name), name, device);
    }
  }

  /** The instance goes for good. */
  async removed(record: InstanceRecord): Promise<void> {
    await this.#each(record, 'could not forget a device', async (owner, name, device) =>
      this.tools.ports.devices.driver(device).removed?.(owner, name, device),
    );
  }

  /** Found running at the start of the daemon. */
  async resume(record: InstanceRecord, pid: number): Promise<void> {
    await this.#each(record, 'could not take up a device again', async (owner, name, device) =>
      this.tools.ports.devices.driver(device).resume?.({ ...owner, pid }, name, device),
    );
  }

  /** Makes the devices of an instance those of `after`; `pid` while it runs. @throws Fault, with what was done undone as far as it can be */
  async change(before: InstanceRecord, after: InstanceRecord, pid: number, context: CallContext = internalContext): Promise<void> {
    const changes = this.changes(before.expandedDevices, after.expandedDevices);
    await using undo = new Undo(this.tools.log);
    const owners = {
      before: (name: string) => ({ ...this.owner(before, name, context), pid: pid || undefined }),
      after: (name: string) => ({ ...this.owner(after, name, context), pid: pid || undefined }),
    };
    for (const name of changes.removed) {
      const device = before.expandedDevices[name]!;
      const driver = this.tools.ports.devices.driver(device);
      if (pid > 0 && !isRootDisk(device)) {
        await driver.detach(owners.before(name), name, device);
        undo.add(`device ${name}`, () => driver.attach(owners.before(name), name, device));
      }
      await driver.removed?.(owners.before(name), name, device);
    }
    for (const name of changes.added) {
      const device = after.expandedDevices[name]!;
      const driver = this.tools.ports.devices.driver(device);
      await driver.added?.(owners.after(name), name, device);
      if (pid > 0 && !isRootDisk(device)) {
        await driver.attach(owners.after(name), name, device);
        undo.add(`device ${name}`, () => driver.detach(owners.after(name), name, device));
      }
    }
    for (const name of changes.updated) {
      const [old, device] = [before.expandedDevices[name]!, after.expandedDevices[name]!];
      const driver = this.tools.ports.devices.driver(device);
      await driver.added?.(owners.after(name), name, device);
      if (pid > 0 || isRootDisk(device)) await driver.update(owners.after(name), name, old, device);
    }
    undo.drop();
  }

  changes(before: DevicesMap, after: DevicesMap): ReturnType<typeof deviceChanges> {
    return deviceChanges(before, after, (device) => this.tools.ports.devices.driver(device).liveKeys);
  }

  /** The instance as a device's driver sees it. */
  owner(record: InstanceRecord, device: string, context: CallContext = internalContext): DeviceOwner {
    const { writer, paths, idmaps } = this.tools;
    const idmap = idmaps.next(record);
    return {
      id: record.id,
      project: record.project,
      name: record.name,
      type: record.type,
      config: record.expandedConfig,
      devices: record.expandedDevices,
      idmap: idmap.length > 0 ? idmap : undefined,
      devicesDir: paths.devices(record),
      injectDir: paths.inject(record),
      setVolatile: async (keys) => {
        const volatile = Object.fromEntries(Object.entries(keys).map(([key, value]) => [`volatile.${device}.${key}`, value]));
        // Known at once to who holds the record, whenever it can be written.
        Object.assign(record.config, volatile);
        Object.assign(record.expandedConfig, volatile);
        await writer.recordSurely(record, { volatile }, context);
      },
    };
  }

  async #each(
    record: InstanceRecord,
    failure: string,
    work: (owner: DeviceOwner, name: string, device: Record<string, string>) => Promise<void> | undefined,
    reversed = false,
  ): Promise<void> {
    const names = deviceOrder(record.expandedDevices);
    for (const name of reversed ? names.reverse() : names) {
      try {
        await work(this.owner(record, name), name, record.expandedDevices[name]!);
      } catch (error) {
        this.tools.log.warn({ err: error, instance: record.name, project: record.project, device: name }, failure);
      }
    }
  }
}
