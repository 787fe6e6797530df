import { fault } from '#kit';
import type { HostContext } from '#members';
import type { NetworksHost } from '#networks/host';
import type { StorageHost } from '#storage/host';
import { nicTypeOf, type NicType } from '../model/index.js';
import type { Device, DeviceDriver } from './device-driver.js';
import { DiskDriver } from './disk/disk.driver.js';
import { BridgedNicDriver } from './nic/bridged.driver.js';
import { MacvlanNicDriver } from './nic/macvlan.driver.js';
import { PointToPointNicDriver } from './nic/p2p.driver.js';
import { PhysicalNicDriver } from './nic/physical.driver.js';
import { noneDriver } from './none.driver.js';
import { awaitedUnixNode, findUnixNode, UnixDriver } from './unix/unix.driver.js';
import { findHotplugNodes } from './unix/hotplug.js';

export interface DeviceHosts {
  networks: NetworksHost;
  storage: StorageHost;
}

/** The drivers of devices on this member. */
export class Devices {
  readonly #nics: Record<NicType, DeviceDriver>;
  readonly #others: Record<string, DeviceDriver>;

  constructor(
    context: HostContext,
    private readonly hosts: DeviceHosts,
  ) {
    this.#nics = {
      bridged: new BridgedNicDriver(context, hosts.networks),
      p2p: new PointToPointNicDriver(context),
      macvlan: new MacvlanNicDriver(context, hosts.networks),
      physical: new PhysicalNicDriver(context),
    };
    const unix = new UnixDriver(context, findUnixNode, awaitedUnixNode);
    this.#others = {
      none: noneDriver,
      disk: new DiskDriver(context, hosts.storage),
      'unix-char': unix,
      'unix-block': unix,
      'unix-hotplug': new UnixDriver(context, findHotplugNodes),
    };
  }

  /** @throws Fault unsupported: this build has no driver for it */
  driver(device: Device): DeviceDriver {
    const found = device['type'] === 'nic' ? this.#nic(device) : this.#others[device['type'] ?? ''];
    if (!found) throw fault.unsupported('Unsupported device type');
    return found;
  }

  #nic(device: Device): DeviceDriver | undefined {
    const type = nicTypeOf(device, { network: (name) => this.hosts.networks.find(name) });
    return type && this.#nics[type];
  }
}
