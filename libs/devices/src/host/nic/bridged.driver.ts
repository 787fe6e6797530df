import { isTrue } from '#config-keys';
import { deleteLink, ip, linkExists, run, runOk } from '#host-kit';
import { fault, Undo } from '#kit';
import type { HostContext } from '#members';
import { Firewall, ipBatch, linkFile, setSysctl, type NetworksHost } from '#networks/host';
import { splitList, type ManagedNetwork } from '#networks/model';
import { effectiveNic, liveKeysOf, nicKeys } from '../../model/index.js';
import type { Device, DeviceDriver, DeviceOwner, PreparedDevice } from '../device-driver.js';
import { completeNic } from './complete.js';
import { allowedSources, filterRules, isFiltered } from './filters.js';
import { clearLimits, isLimited, setLimits } from './limits.js';
import { nicLabel, randomLinkName } from './names.js';
import { addRoutes, removeRoutes, routesOf, routeWords } from './routes.js';
import { makeVethPair, moveIntoContainer, nicAlias, nicIndex, physicalLines, type VethPair } from './veth.js';

/** Where a nic is plugged in: a bridge of the host, and the managed network that it belongs to, if one does. */
interface Plug {
  bridge: string;
  managed?: ManagedNetwork;
}

/** A veth pair, one end in a bridge. */
export class BridgedNicDriver implements DeviceDriver {
  readonly liveKeys = liveKeysOf(nicKeys.bridged);
  readonly #firewall: Firewall;

  constructor(
    private readonly context: HostContext,
    private readonly networks: NetworksHost,
  ) {
    this.#firewall = new Firewall(context.naming.nftTable);
  }

  async prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice> {
    const nic = await completeNic(owner, name, device, { mac: true });
    const { peer } = await this.#plugIn(owner, name, nic);
    return { lxc: physicalLines(nicIndex(owner, name), peer, nic.name) };
  }

  async attach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = await completeNic(owner, name, device, { mac: true });
    await using undo = new Undo(this.context.log);
    const { host, peer } = await this.#plugIn(owner, name, nic);
    undo.add('nic', () => this.detach({ ...owner, pid: undefined }, name, { ...device, host_name: host }));
    await moveIntoContainer(peer, owner.pid!, nic.name);
    undo.drop();
  }

  async detach(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = effectiveNic(name, device, owner.config);
    if (isFiltered(nic)) await this.#firewall.removePort(nicLabel(owner, name));
    if (nic['host_name']) {
      if (isLimited(nic)) await clearLimits(this.#firewall, nicLabel(owner, name), nic['host_name'], nic);
      await deleteLink(nic['host_name']);
    }
    const plug = this.#find(nic);
    if (plug) await removeRoutes(plug.bridge, routesOf(nic));
    await owner.setVolatile({ host_name: '' });
  }

  async update(owner: DeviceOwner, name: string, before: Device, after: Device): Promise<void> {
    const [old, nic] = [effectiveNic(name, before, owner.config), effectiveNic(name, after, owner.config)];
    const host = nic['host_name'];
    if (!host || !linkExists(host)) throw fault.conflict(`Nic "${name}" is not plugged in`);
    const plug = this.#plug(nic);
    await this.#filter(owner, name, nic, plug, host);
    if (isFiltered(old) && !isFiltered(nic)) await this.#firewall.removePort(nicLabel(owner, name));
    const [oldRoutes, routes] = [routesOf(old), routesOf(nic)];
    await removeRoutes(
      plug.bridge,
      oldRoutes.filter((route) => !routes.includes(route)),
    );
    await addRoutes(
      plug.bridge,
      routes.filter((route) => !oldRoutes.includes(route)),
    );
    await setLimits(this.#firewall, nicLabel(owner, name), host, nic, old);
    // Seeing its cable pulled, the instance asks for its new address.
    if (old['ipv6.address'] !== nic['ipv6.address']) {
      await ip(['link', 'set', 'dev', host, 'down']);
      await ip(['link', 'set', 'dev', host, 'up']);
    }
  }

  async added(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const nic = await completeNic(owner, name, device, { mac: true });
    const managed = this.networks.find(nic['network'] || nic['parent'] || '');
    if (managed) await this.#promise(owner, name, nic, managed);
  }

  async removed(owner: DeviceOwner, name: string, device: Device): Promise<void> {
    const managed = this.networks.find(device['network'] || device['parent'] || '');
    if (managed) await this.networks.removeHost(managed, { project: owner.project, instance: owner.name, device: name });
  }

  /** Makes the pair and plugs the host's end in. */
  async #plugIn(owner: DeviceOwner, name: string, nic: Record<string, string>): Promise<VethPair> {
    const plug = this.#plug(nic);
    const host = nic['host_name'] || randomLinkName('veth');
    await owner.setVolatile({ host_name: host });
    await using undo = new Undo(this.context.log);
    undo.add('host_name', () => owner.setVolatile({ host_name: '' }));
    const mtu = nic['mtu'] || plug.managed?.config['bridge.mtu'] || linkFile(plug.bridge, 'mtu');
    const pair = await makeVethPair(host, nicAlias(this.context, owner, name), { hwaddr: nic['hwaddr'], mtu });
    undo.add('veth', () => deleteLink(host));
    // The host has no business on this wire: the bridge has its address.
    setSysctl(`net/ipv6/conf/${host}/disable_ipv6`, '1');
    setSysctl(`net/ipv6/conf/${host}/accept_ra`, '0');
    const label = nicLabel(owner, name);
    if (isFiltered(nic)) undo.add('filters', () => this.#firewall.removePort(label));
    await this.#filter(owner, name, nic, plug, host);
    undo.add('limits', () => clearLimits(this.#firewall, label, host, nic));
    await setLimits(this.#firewall, label, host, nic);
    const port = [['link', 'set', 'dev', host, 'master', plug.bridge]];
    if (isTrue(nic['security.port_isolation'])) port.push(['link', 'set', 'dev', host, 'type', 'bridge_slave', 'isolated', 'on']);
    const routes = routesOf(nic);
    undo.add('routes', () => removeRoutes(plug.bridge, routes));
    const up = [['link', 'set', 'dev', host, 'up'], ...routes.map((route) => routeWords(plug.bridge, route))];
    const failure = `Could not plug nic "${name}" into "${plug.bridge}"`;
    if (hasVlans(nic)) {
      // A port that is up before it has its VLANs leaks into the wrong one.
      await ipBatch(port, failure);
      await this.#setVlans(plug.bridge, host, nic);
      await ipBatch(up, failure);
    } else await ipBatch([...port, ...up], failure);
    undo.drop();
    return pair;
  }

  /** @throws Fault unavailable, invalid: there is no such bridge */
  #plug(nic: Device): Plug {
    const name = nic['network'] || nic['parent'] || '';
    const managed = this.networks.find(name);
    if (managed) return { bridge: this.networks.interfaceOf(managed), managed };
    if (!linkExists(name)) throw fault.invalid(`Parent device "${name}" doesn't exist`);
    return { bridge: name };
  }

  #find(nic: Device): Plug | undefined {
    try {
      return this.#plug(nic);
    } catch {
      return undefined;
    }
  }

  /** Promises the nic its addresses: those of its config, or, for one that is filtered by them, free ones. */
  async #promise(owner: DeviceOwner, name: string, nic: Device, managed: ManagedNetwork): Promise<{ ipv4?: string; ipv6?: string }> {
    const key = { project: owner.project, instance: owner.name, device: name };
    if (!nic['hwaddr'] || !this.networks.givesAddresses(managed)) {
      await this.networks.removeHost(managed, key);
      return {};
    }
    const address = (family: 4 | 6): string | undefined => {
      const wanted = nic[`ipv${family}.address`];
      if (wanted) return wanted === 'none' ? undefined : wanted;
      return isTrue(nic[`security.ipv${family}_filtering`]) ? this.networks.freeAddress(managed, key, family) : undefined;
    };
    const addresses = { ipv4: address(4), ipv6: address(6) };
    await this.networks.setHost(managed, { ...key, hwaddr: nic['hwaddr'], ...addresses });
    return addresses;
  }

  async #filter(owner: DeviceOwner, name: string, nic: Device, plug: Plug, host: string): Promise<void> {
    const addresses = plug.managed ? await this.#promise(owner, name, nic, plug.managed) : {};
    if (!isFiltered(nic)) return;
    if (!nic['hwaddr']) throw fault.internal('Failed to set network filters: require hwaddr defined');
    await this.#firewall.setPort(nicLabel(owner, name), filterRules(host, nic['hwaddr'], allowedSources(nic, addresses)));
  }

  async #setVlans(bridge: string, host: string, nic: Device): Promise<void> {
    const tagged = splitList(nic['vlan.tagged']);
    if (linkFile(bridge, 'bridge/vlan_filtering') !== '1') throw fault.unsupported(`VLAN filtering is not enabled on bridge "${bridge}"`);
    const vlan = (...words: string[]): Promise<Buffer> =>
      runOk('bridge', ['vlan', ...words], { failure: 'Could not set the VLANs of a nic', timeoutMs: 10_000 });
    if (nic['vlan']) {
      const initial = linkFile(bridge, 'bridge/default_pvid');
      if (initial !== '0') await run('bridge', ['vlan', 'delete', 'dev', host, 'vid', initial], { timeoutMs: 10_000 });
      if (nic['vlan'] !== 'none') await vlan('add', 'dev', host, 'vid', nic['vlan'], 'pvid', 'untagged');
    }
    for (const range of tagged) await vlan('add', 'dev', host, 'vid', range);
  }
}

const hasVlans = (nic: Device): boolean => Boolean(nic['vlan'] || nic['vlan.tagged']);
