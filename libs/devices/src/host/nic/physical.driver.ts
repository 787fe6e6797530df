import { changeLink, linkExists, readLink, reclaimLink } from '#host-kit';
import { fault, Undo } from '#kit';
import type { HostContext } from '#members';
import { linkFile } from '#networks/host';
import { effectiveNic, liveKeysOf, nicKeys } from '../../model/index.js';
import type { Device, DeviceDriver, DeviceOwner, PreparedDevice } from '../device-driver.js';
import { completeNic } from './complete.js';
import { moveIntoContainer, nicIndex, physicalLines } from './veth.js';
import { hostInterfaceOf, makeVlan, removeVlan } from './vlan.js';

/** An interface of the host, lent to the instance whole: gone from the host while it runs, and back as it was afterwards. */
export class PhysicalNicDriver implements DeviceDriver {
  readonly liveKeys = liveKeysOf(nicKeys.physical);

  constructor(private readonly context: HostContext) {}

  async prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice> {
    const nic = await completeNic(owner, name, device, { mac: false });
    const link = await this.#lend(owner, nic);
    return { lxc: physicalLines(nicIndex(owner, name), link, nic.name) };
  }

  async attach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = await completeNic(owner, name, device, { mac: false });
    await using undo = new Undo(this.context.log);
    const before = { ...owner.config };
    const link = await this.#lend(owner, nic, (keys) => {
      for (const [key, value] of Object.entries(keys)) before[`volatile.${name}.${key}`] = value;
    });
    undo.add('nic', () => this.detach({ ...owner, config: before, pid: undefined }, name, device));
    await moveIntoContainer(link, owner.pid!, nic.name);
    undo.drop();
  }

  async detach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = effectiveNic(name, device, owner.config);
    const link = nic['host_name'];
    const last = (key: string): string => owner.config[`volatile.${name}.last_state.${key}`] ?? '';
    if (link) {
      if (owner.pid !== undefined && nic['name'] && !linkExists(link) && (await readLink(nic['name'], { pid: owner.pid }))) {
        await changeLink(nic['name'], { up: false }, { pid: owner.pid });
        await reclaimLink(nic['name'], owner.pid, link);
      }
      if (last('created') === 'true') await removeVlan(nic);
      else if (linkExists(link)) {
        if (last('hwaddr')) await changeLink(link, { mac: last('hwaddr') });
        if (last('mtu')) await changeLink(link, { mtu: Number(last('mtu')) });
      }
    }
    await owner.setVolatile({ host_name: '', 'last_state.created': '', 'last_state.hwaddr': '', 'last_state.mtu': '' });
  }

  /** No key of it changes in place. */
  update(): Promise<void> {
    return Promise.resolve();
  }

  async #lend(owner: DeviceOwner, nic: Record<string, string>, remember: (keys: Record<string, string>) => void = () => {}): Promise<string> {
    const link = hostInterfaceOf(nic);
    await using undo = new Undo(this.context.log);
    const created = await makeVlan(nic);
    if (created) undo.add('vlan', () => removeVlan(nic));
    if (linkFile(link, 'bridge/bridge_id') !== '' || linkFile(link, 'flags') === '0x9')
      throw fault.invalid(`Parent device "${link}" cannot be given to an instance`);
    const keys = {
      host_name: link,
      'last_state.created': created ? 'true' : 'false',
      'last_state.hwaddr': linkFile(link, 'address'),
      'last_state.mtu': linkFile(link, 'mtu'),
    };
    remember(keys);
    await owner.setVolatile(keys);
    await changeLink(link, { up: false });
    if (nic['hwaddr']) await changeLink(link, { mac: nic['hwaddr'] });
    if (nic['mtu']) await changeLink(link, { mtu: Number(nic['mtu']) });
    undo.drop();
    return link;
  }
}
