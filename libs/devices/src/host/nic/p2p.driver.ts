import { deleteLink, linkExists } from '#host-kit';
import { fault, Undo } from '#kit';
import type { HostContext } from '#members';
import { Firewall, ipBatch } from '#networks/host';
import { effectiveNic, liveKeysOf, nicKeys } from '../../model/index.js';
import type { Device, DeviceDriver, DeviceOwner, PreparedDevice } from '../device-driver.js';
import { completeNic } from './complete.js';
import { clearLimits, isLimited, setLimits } from './limits.js';
import { nicLabel, randomLinkName } from './names.js';
import { addRoutes, removeRoutes, routesOf, routeWords } from './routes.js';
import { makeVethPair, moveIntoContainer, nicAlias, nicIndex, physicalLines, type VethPair } from './veth.js';

/** A veth pair between instance and host, with whatever routes; the rest is the administrator's. */
export class PointToPointNicDriver implements DeviceDriver {
  readonly liveKeys = liveKeysOf(nicKeys.p2p);

  readonly #firewall: Firewall;

  constructor(private readonly context: HostContext) {
    this.#firewall = new Firewall(context.naming.nftTable);
  }

  async prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice> {
    const nic = await completeNic(owner, name, device, { mac: true });
    const { peer } = await this.#make(owner, name, nic);
    return { lxc: physicalLines(nicIndex(owner, name), peer, nic.name) };
  }

  async attach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = await completeNic(owner, name, device, { mac: true });
    await using undo = new Undo(this.context.log);
    const { host, peer } = await this.#make(owner, name, nic);
    undo.add('nic', () => this.detach({ ...owner, pid: undefined }, name, { ...device, host_name: host }));
    await moveIntoContainer(peer, owner.pid!, nic.name);
    undo.drop();
  }

  async detach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const host = effectiveNic(name, device, owner.config)['host_name'];
    if (host) {
      if (isLimited(device)) await clearLimits(this.#firewall, nicLabel(owner, name), host, device);
      await deleteLink(host);
    }
    await owner.setVolatile({ host_name: '' });
  }

  async update(owner: DeviceOwner, name: string, before: Device, after: Device): Promise<void> {
    const host = effectiveNic(name, after, owner.config)['host_name'];
    if (!host || !linkExists(host)) throw fault.conflict(`Nic "${name}" is not plugged in`);
    const [oldRoutes, routes] = [routesOf(before), routesOf(after)];
    await removeRoutes(
      host,
      oldRoutes.filter((route) => !routes.includes(route)),
    );
    await addRoutes(
      host,
      routes.filter((route) => !oldRoutes.includes(route)),
    );
    await setLimits(this.#firewall, nicLabel(owner, name), host, after, before);
  }

  async #make(owner: DeviceOwner, name: string, nic: Record<string, string>): Promise<VethPair> {
    const host = nic['host_name'] || randomLinkName('veth');
    await owner.setVolatile({ host_name: host });
    await using undo = new Undo(this.context.log);
    undo.add('host_name', () => owner.setVolatile({ host_name: '' }));
    const pair = await makeVethPair(host, nicAlias(this.context, owner, name), { hwaddr: nic['hwaddr'], mtu: nic['mtu'] });
    undo.add('veth', () => deleteLink(host));
    const label = nicLabel(owner, name);
    undo.add('limits', () => clearLimits(this.#firewall, label, host, nic));
    await setLimits(this.#firewall, label, host, nic);
    await ipBatch([['link', 'set', 'dev', host, 'up'], ...routesOf(nic).map((route) => routeWords(host, route))]);
    undo.drop();
    return pair;
  }
}
