import { deleteLink, readLink } from '#host-kit';
import { Undo } from '#kit';
import type { HostContext } from '#members';
import { ipBatch, type NetworksHost } from '#networks/host';
import { effectiveNic, liveKeysOf, nicKeys } from '../../model/index.js';
import type { Device, DeviceDriver, DeviceOwner, PreparedDevice } from '../device-driver.js';
import { completeNic } from './complete.js';
import { randomLinkName } from './names.js';
import { moveIntoContainer, nicAlias, nicIndex, physicalLines } from './veth.js';
import { hostInterfaceOf, makeVlan, removeVlan } from './vlan.js';

/** An interface with a MAC address of its own on one of the host's: the instance is on the network that the host is on, and cannot talk with the host. */
export class MacvlanNicDriver implements DeviceDriver {
  readonly liveKeys = liveKeysOf(nicKeys.macvlan);

  constructor(
    private readonly context: HostContext,
    private readonly networks: NetworksHost,
  ) {}

  async prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice> {
    const nic = this.#withNetwork(await completeNic(owner, name, device, { mac: true }));
    const link = await this.#make(owner, name, nic);
    return { lxc: physicalLines(nicIndex(owner, name), link, nic.name) };
  }

  async attach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = this.#withNetwork(await completeNic(owner, name, device, { mac: true }));
    await using undo = new Undo(this.context.log);
    const link = await this.#make(owner, name, nic);
    undo.add('nic', () => this.detach({ ...owner, pid: undefined }, name, { ...device, host_name: link }));
    await moveIntoContainer(link, owner.pid!, nic.name);
    undo.drop();
  }

  async detach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = this.#withNetwork(effectiveNic(name, device, owner.config));
    if (owner.pid !== undefined && nic['name'] && (await readLink(nic['name'], { pid: owner.pid }))?.kind === 'macvlan')
      await deleteLink(nic['name'], { pid: owner.pid });
    if (nic['host_name']) await deleteLink(nic['host_name']);
    if (owner.config[`volatile.${name}.last_state.created`] === 'true') await removeVlan(nic);
    await owner.setVolatile({ host_name: '', 'last_state.created': '' });
  }

  /** No key of it changes in place. */
  update(): Promise<void> {
    return Promise.resolve();
  }

  /** What a nic on a managed network takes from it. */
  #withNetwork<T extends Record<string, string>>(nic: T): T {
    const config = nic['network'] ? this.networks.find(nic['network'])?.config : undefined;
    return { ...nic, ...Object.fromEntries(['parent', 'mtu', 'vlan', 'gvrp'].flatMap((key) => (config?.[key] ? [[key, config[key]]] : []))) };
  }

  async #make(owner: DeviceOwner, name: string, nic: Record<string, string>): Promise<string> {
    const link = randomLinkName('mac');
    await using undo = new Undo(this.context.log);
    const madeVlan = await makeVlan(nic);
    if (madeVlan) undo.add('vlan', () => removeVlan(nic));
    undo.add('volatile', () => owner.setVolatile({ host_name: '', 'last_state.created': '' }));
    await owner.setVolatile({ host_name: link, 'last_state.created': madeVlan ? 'true' : '' });
    const address = nic['hwaddr'] ? ['address', nic['hwaddr']] : [];
    const mtu = nic['mtu'] ? ['mtu', nic['mtu']] : [];
    undo.add('macvlan', () => deleteLink(link));
    await ipBatch(
      [
        ['link', 'add', 'link', hostInterfaceOf(nic), 'name', link, ...address, ...mtu, 'type', 'macvlan', 'mode', 'bridge'],
        ['link', 'set', 'dev', link, 'alias', nicAlias(this.context, owner, name)],
      ],
      `Failed to create a macvlan interface on "${hostInterfaceOf(nic)}"`,
    );
    undo.drop();
    return link;
  }
}
