import { ip, linkExists, readSysctl } from '#host-kit';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isTrue } from '#config-keys';
import type { ConfigMap } from '#api-contract';
import { fault } from '#kit';
import type { HostContext } from '#members';
import {
  bridgeSubnet,
  contains,
  dhcpSubnet,
  formatAddress,
  nthAddress,
  parseAddress,
  parseRange,
  sameAddress,
  splitList,
  tunnelNames,
  usesDnsmasq,
  type Family,
  type ManagedNetwork,
  type NetworkLease,
} from '../../model/index.js';
import type { Addresses, NetworkDriver } from '../driver.js';
import { Firewall } from '../firewall.js';
import { addressesOf, ipBatch, ipMaybe, ipShow, linkFile, linksByAlias } from '../ip.command.js';
import { setSysctl, sysctlEntries } from '../sysctl.js';
import { releaseLease, releaseLease6 } from './dhcp-release.js';
import { dnsmasqArguments } from './dnsmasq.arguments.js';
import { DnsmasqProcess, dnsmasqUser } from './dnsmasq.process.js';
import { leaseRows, parseLeases, type DynamicLease } from './leases.js';
import { StaticHosts, type NicKey, type StaticHost } from './static-hosts.js';

/**
 * A Linux bridge with an address, DHCP and DNS by dnsmasq, NAT and forwarding by nftables.
 *
 * The bridge bears the network's name and an alias that says whose it is (`muster:HASH:ID`): that is how a daemon finds its bridges again, and how
 * several daemons on one host tell theirs apart. Members of one cluster on one host would all want the same name: whoever comes second takes one made of
 * its state directory's hash.
 */
export class BridgeDriver implements NetworkDriver, Addresses {
  readonly capabilities = { addresses: true, projects: false };
  readonly #dnsmasq = new Map<number, DnsmasqProcess>();
  readonly #firewall: Firewall;

  constructor(private readonly context: HostContext) {
    this.#firewall = new Firewall(context.naming.nftTable);
  }

  check(network: ManagedNetwork): Promise<void> {
    if (!this.interfaceOf(network)) this.#freeName(network);
    return Promise.resolve();
  }

  interfaceOf(network: ManagedNetwork): string | undefined {
    // Nearly always under its own name.
    if (linkFile(network.name, 'ifalias') === this.#alias(network)) return network.name;
    return linksByAlias(this.#alias(network)).get(this.#alias(network));
  }

  async apply(network: ManagedNetwork): Promise<void> {
    const { config } = network;
    const mtu = config['bridge.mtu'] || (tunnelNames(config).length > 0 ? '1400' : '1500');
    const found = this.interfaceOf(network);
    // A rename that a crash cut short between row and host.
    if (found && found !== network.name && found !== this.#ownName(network)) return this.rename({ ...network, name: found }, network.name);
    const link = found ?? (await this.#create(network));
    const hwaddr = (config['bridge.hwaddr'] || this.#stableMac(network)).toLowerCase();
    if (linkFile(link, 'address') !== hwaddr) await ip(['link', 'set', link, 'address', hwaddr]);
    await this.#setMtu(link, mtu);
    this.#setIpv6(link, bridgeSubnet(config, 6) !== undefined);
    await ip(['link', 'set', link, 'up']);
    await this.#setPorts(network, link, mtu);
    for (const family of [4, 6] as const) {
      await this.#setAddresses(link, config, family);
      if (bridgeSubnet(config, family) && isTrue(config[`ipv${family}.routing`], true)) allowForwarding(family);
    }
    await this.#firewall.setNetwork(link, config);
    await this.#setDnsmasq(network, link, mtu);
  }

  async remove(network: ManagedNetwork): Promise<void> {
    await this.#process(network).stop();
    await this.stop(network);
    rmSync(this.#dir(network.name), { recursive: true, force: true });
  }

  async stop(network: ManagedNetwork): Promise<void> {
    await this.#process(network).end();
    this.#dnsmasq.delete(network.id);
    const link = this.interfaceOf(network);
    await this.#firewall.removeNetwork(link ?? network.name);
    if (link) await this.#deleteLink(link, this.#alias(network));
  }

  async sweep(exists: (id: number) => boolean): Promise<void> {
    const prefix = this.#alias({ id: '' });
    for (const [alias, link] of linksByAlias(prefix)) {
      const id = Number(alias.slice(prefix.length));
      if (!Number.isSafeInteger(id) || exists(id)) continue;
      this.context.log.warn({ interface: link }, 'removing a bridge whose network is gone');
      for (const dir of this.#dirsServing(link)) {
        await new DnsmasqProcess(dir, '/dev/null', this.context.log).stop();
        rmSync(dir, { recursive: true, force: true });
      }
      await this.#firewall.removeNetwork(link);
      await this.#deleteLink(link, alias);
    }
  }

  /** Directories of networks that were last served on this interface: its name need not be the network's. */
  #dirsServing(link: string): string[] {
    const all = join(this.context.server.stateDir, 'networks');
    const dirs = existsSync(all) ? readdirSync(all).map((name) => join(all, name)) : [];
    return dirs.filter((dir) => basename(dir) === link || new DnsmasqProcess(dir, '/dev/null', this.context.log).serves(link));
  }

  async #deleteLink(link: string, alias: string): Promise<void> {
    for (const port of [`${link}-mtu`.slice(0, 15), ...linksByAlias(`${alias}:port:tunnel`).values()]) {
      if (linkFile(port, 'master/ifindex') === linkFile(link, 'ifindex')) await ipMaybe(['link', 'delete', port]);
    }
    // Two may come to remove the same: being gone is what counts.
    if (!(await ipMaybe(['link', 'delete', link])) && linkExists(link)) throw fault.internal(`Could not remove bridge "${link}"`);
  }

  async rename(network: ManagedNetwork, newName: string): Promise<void> {
    if (linkExists(newName)) throw fault.invalid(`Network interface "${newName}" already exists`);
    const renamed = { ...network, name: newName };
    await this.#process(network).stop();
    this.#dnsmasq.delete(network.id);
    const link = this.interfaceOf(network);
    try {
      if (existsSync(this.#dir(network.name))) renameSync(this.#dir(network.name), this.#dir(newName));
      if (link) {
        await this.#firewall.removeNetwork(link);
        await ip(['link', 'set', link, 'down']);
        await ip(['link', 'set', link, 'name', newName]);
        if (linkExists(`${link}-mtu`)) await ipMaybe(['link', 'delete', `${link}-mtu`]);
      }
      await this.apply(renamed);
    } catch (error) {
      const current = this.interfaceOf(network);
      if (current && current !== network.name) {
        await ipMaybe(['link', 'set', current, 'down']);
        await ipMaybe(['link', 'set', current, 'name', network.name]);
      }
      if (existsSync(this.#dir(newName))) renameSync(this.#dir(newName), this.#dir(network.name));
      this.#dnsmasq.delete(network.id);
      await this.apply(network).catch((again: unknown) =>
        this.context.log.error({ err: again }, 'could not bring a network back after a failed rename'),
      );
      throw error;
    }
  }

  release(): void {
    for (const process of this.#dnsmasq.values()) process.release();
  }

  async setHost(network: ManagedNetwork, host: StaticHost): Promise<void> {
    const hosts = this.#hosts(network);
    const same = (other: StaticHost): boolean => other.project === host.project && other.instance === host.instance && other.device === host.device;
    for (const other of hosts.all()) {
      if (same(other)) continue;
      for (const [mine, theirs] of [
        [host.ipv4, other.ipv4],
        [host.ipv6, other.ipv6],
      ]) {
        if (!mine || !theirs || !sameAddress(parseAddress(mine), parseAddress(theirs))) continue;
        // What the nic had before, it no longer asks for.
        if (hosts.remove(host)) this.#process(network).reload();
        throw fault.conflict(`IP address "${theirs}" already defined on another NIC`);
      }
    }
    if (hosts.set(host, network.config)) this.#process(network).reload();
    return Promise.resolve();
  }

  async removeHost(network: ManagedNetwork, nic: NicKey): Promise<void> {
    const hosts = this.#hosts(network);
    const host = hosts.get(nic);
    if (!hosts.remove(nic)) return;
    const process = this.#process(network);
    process.reload();
    if (host && process.pid() !== undefined) await this.#releaseLeases(network, host);
  }

  async #releaseLeases(network: ManagedNetwork, host: StaticHost): Promise<void> {
    const [server4, server6] = ([4, 6] as const).map((family) => bridgeSubnet(network.config, family));
    const { leases, serverDuid } = this.#leaseFile(network);
    for (const { hwaddr, address, hostname, v6 } of leases) {
      if (server4 && hwaddr === host.hwaddr) await releaseLease({ hwaddr, address, server: formatAddress(server4.address) });
      // A DHCPv6 lease names no MAC: it is known by the promised address, or by the name that we gave.
      const mine = hostname === host.instance || sameAddress(parseAddress(address), parseAddress(host.ipv6 ?? ''));
      if (server6 && serverDuid && v6 && mine) await releaseLease6({ address, ...v6, serverDuid }, formatAddress(server6.address));
    }
  }

  host(network: ManagedNetwork, nic: NicKey): StaticHost | undefined {
    return this.#hosts(network).get(nic);
  }

  freeAddress(network: ManagedNetwork, nic: NicKey, family: Family): string | undefined {
    const subnet = dhcpSubnet(network.config, family);
    if (!subnet || (family === 6 && !isTrue(network.config['ipv6.dhcp.stateful']))) return undefined;
    const hosts = this.#hosts(network);
    const mine = hosts.get(nic);
    const before = family === 4 ? mine?.ipv4 : mine?.ipv6;
    if (before) return before;
    const dynamic = this.#dynamic(network);
    // What it got by DHCP before it was filtered is the least surprising.
    const leased = mine && dynamic.find((lease) => lease.hwaddr === mine.hwaddr && parseAddress(lease.address)?.family === family);
    if (leased) return leased.address;
    const taken = new Set([formatAddress(subnet.address), ...dynamic.map((lease) => lease.address)]);
    for (const host of hosts.all()) for (const address of [host.ipv4, host.ipv6]) if (address) taken.add(formatAddress(parseAddress(address)!));
    const ranges = splitList(network.config[`ipv${family}.dhcp.ranges`]).map((text) => parseRange(text)!);
    if (ranges.length === 0) ranges.push({ first: nthAddress(subnet, 2), last: nthAddress(subnet, family === 4 ? -2 : -1) });
    for (const { first, last } of ranges) {
      // At most one more candidate than there are taken ones is ever looked at.
      for (let value = first.value; value <= last.value; value++) {
        const address = formatAddress({ family, value });
        if (!taken.has(address) && contains(subnet, { family, value })) return address;
      }
    }
    throw fault.conflict(`No available IP addresses in network "${network.name}"`);
  }

  leases(network: ManagedNetwork, project: string): NetworkLease[] {
    const location = this.context.server.memberName();
    return leaseRows({
      network,
      project,
      hosts: this.#hosts(network).all(),
      dynamic: this.#dynamic(network),
      location: location === 'none' ? '' : location,
    });
  }

  #leaseFile(network: ManagedNetwork): ReturnType<typeof parseLeases> {
    const path = join(this.#dir(network.name), 'dnsmasq.leases');
    return parseLeases(existsSync(path) ? readFileSync(path, 'utf8') : '');
  }

  #dynamic(network: ManagedNetwork): DynamicLease[] {
    return this.#leaseFile(network).leases;
  }

  #hosts(network: ManagedNetwork): StaticHosts {
    return new StaticHosts(join(this.#dir(network.name), 'dnsmasq.hosts'));
  }

  #process(network: ManagedNetwork): DnsmasqProcess {
    let process = this.#dnsmasq.get(network.id);
    if (!process) {
      const logFile = join(this.context.server.stateDir, 'logs', `dnsmasq.${network.name}.log`);
      process = new DnsmasqProcess(this.#dir(network.name), logFile, this.context.log.child({ network: network.name }));
      this.#dnsmasq.set(network.id, process);
    }
    return process;
  }

  #dir(name: string): string {
    return join(this.context.server.stateDir, 'networks', name);
  }

  #alias(network: { id: number | string }): string {
    return `muster:${this.context.naming.hash || 'default'}:${network.id}`;
  }

  /** The name for a new interface. @throws Fault invalid when it is taken */
  #freeName(network: ManagedNetwork): string {
    if (!linkExists(network.name)) return network.name;
    const theirs = linkFile(network.name, 'ifalias').startsWith('muster:');
    if (theirs && this.context.server.memberName() !== 'none') return this.#ownName(network);
    throw fault.invalid(`Network interface "${network.name}" already exists`);
  }

  /** What a bridge is called where another member of the cluster, on the same host, has the network's name. */
  #ownName(network: ManagedNetwork): string {
    return `mu${this.context.naming.hash}${network.id}`.slice(0, 15);
  }

  async #create(network: ManagedNetwork): Promise<string> {
    const name = this.#freeName(network);
    // The kernel takes no alias at birth. Under a name of its own until it bears one: a bridge made by half would pass for somebody else's.
    const unborn = `mt${this.context.naming.hash}${network.id}`.slice(0, 15);
    if (linkExists(unborn)) await ip(['link', 'delete', unborn]);
    await ipBatch(
      [
        ['link', 'add', unborn, 'type', 'bridge'],
        ['link', 'set', unborn, 'alias', this.#alias(network)],
        ['link', 'set', unborn, 'name', name],
      ],
      `Failed to create bridge "${name}"`,
    );
    // As LXD does; not every kernel can filter VLANs.
    try {
      if (existsSync(`/sys/class/net/${name}/bridge/vlan_filtering`)) await ip(['link', 'set', name, 'type', 'bridge', 'vlan_filtering', '1']);
    } catch (error) {
      this.context.log.warn({ err: error, network: network.name }, 'no VLAN filtering on this bridge');
    }
    return name;
  }

  /** The same on every start and on every member: a guest's neighbour table stays right. */
  #stableMac(network: ManagedNetwork): string {
    const digest = createHash('sha256').update(`${this.context.server.fingerprint()}.0.${network.id}`).digest('hex');
    return `00:16:3e:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`;
  }

  /** A bridge takes the smallest MTU of its ports: a port that does nothing else holds it where it should be. */
  async #setMtu(link: string, mtu: string): Promise<void> {
    const holder = `${link}-mtu`.slice(0, 15);
    if (mtu === '1500') {
      if (linkExists(holder) && linkFile(holder, 'master/ifindex') === linkFile(link, 'ifindex')) await ipMaybe(['link', 'delete', holder]);
    } else if (!linkExists(holder)) {
      const made = await ipMaybe(['link', 'add', holder, 'mtu', mtu, 'type', 'dummy']);
      if (made)
        await ipBatch([
          ['link', 'set', holder, 'master', link],
          ['link', 'set', holder, 'up'],
        ]);
    } else if (linkFile(holder, 'mtu') !== mtu) await ip(['link', 'set', holder, 'mtu', mtu]);
    if (linkFile(link, 'mtu') !== mtu) await ip(['link', 'set', link, 'mtu', mtu]);
  }

  /** Without an IPv6 address of ours the bridge has none at all: a link-local one would make the host reachable, and an instance could announce itself as router. */
  #setIpv6(link: string, on: boolean): void {
    const conf = `net/ipv6/conf/${link}`;
    setSysctl(`${conf}/disable_ipv6`, on ? '0' : '1');
    if (!on) return;
    setSysctl(`${conf}/autoconf`, '0');
    setSysctl(`${conf}/accept_dad`, '0');
  }

  async #setAddresses(link: string, config: ConfigMap, family: Family): Promise<void> {
    const wanted = bridgeSubnet(config, family);
    const inet = family === 4 ? 'inet' : 'inet6';
    const wantedText = wanted && `${formatAddress(wanted.address)}/${wanted.prefix}`;
    const present = (await addressesOf(link)).filter((entry) => entry.family === inet && entry.scope === 'global');
    const texts = present.map((entry) => `${entry.local}/${entry.prefixlen}`);
    const routes = await ipShow<{ dst: string }>([`-${family}`, 'route', 'show', 'dev', link, 'proto', 'static']);
    const full = family === 4 ? 32 : 128;
    const routed = routes.map(({ dst }) => (dst.includes('/') ? dst : `${dst}/${full}`));
    const wantedRoutes = wanted ? splitList(config[`ipv${family}.routes`]) : [];
    const commands = [
      // The new address first: with the last one of a family the kernel drops the routes of instances too.
      ...(wantedText && !texts.includes(wantedText) ? [['addr', 'add', wantedText, 'dev', link]] : []),
      ...routed.filter((route) => !wantedRoutes.includes(route)).map((route) => ['route', 'delete', route, 'dev', link, 'proto', 'static']),
      ...texts.filter((text) => text !== wantedText).map((text) => ['addr', 'delete', text, 'dev', link]),
      ...wantedRoutes.filter((route) => !routed.includes(route)).map((route) => ['route', 'add', route, 'dev', link, 'proto', 'static']),
    ];
    await ipBatch(commands, 'Could not set the addresses of a network');
  }

  /** Tunnels and the host's own interfaces that config puts into the bridge; those of an earlier config out of it. */
  async #setPorts(network: ManagedNetwork, link: string, mtu: string): Promise<void> {
    const { config } = network;
    const index = linkFile(link, 'ifindex');
    const tunnels = tunnelNames(config);
    const marker = `${this.#alias(network)}:port`;
    const external = splitList(config['bridge.external_interfaces']);
    const wanted = new Map(tunnels.map((tunnel) => [`${link}-${tunnel}`, `${marker}:tunnel:${digest(tunnelWords(config, tunnel, mtu))}`]));
    for (const [alias, port] of linksByAlias(marker)) {
      if (alias.startsWith(`${marker}:tunnel`)) {
        if (wanted.get(port) !== alias) await ipMaybe(['link', 'delete', port]);
      } else if (!external.includes(port)) await ipMaybe(['link', 'set', port, 'nomaster', 'alias', '']);
    }
    for (const port of external) {
      if (!linkExists(port)) {
        this.context.log.warn({ network: network.name, interface: port }, 'skipping a missing external interface');
        continue;
      }
      if (linkFile(port, 'master/ifindex') === index) continue;
      if ((await addressesOf(port)).some((address) => address.scope === 'global'))
        throw fault.invalid('Only unconfigured network interfaces can be bridged');
      await ip(['link', 'set', port, 'master', link, 'alias', `${marker}:external`]);
      await ip(['link', 'set', port, 'up']);
    }
    for (const tunnel of tunnels) {
      const name = `${link}-${tunnel}`;
      const words = tunnelWords(config, tunnel, mtu);
      if (!words || linkFile(name, 'ifalias') === wanted.get(name)) continue;
      if (linkExists(name)) await ipMaybe(['link', 'delete', name]);
      await ip(['link', 'add', name, ...words, ...(words.includes('group') && !words.includes('dev') ? ['dev', await defaultInterface()] : [])]);
      await ipBatch([
        ['link', 'set', name, 'alias', wanted.get(name)!],
        ['link', 'set', name, 'master', link],
        ['link', 'set', name, 'up'],
      ]);
    }
  }

  async #setDnsmasq(network: ManagedNetwork, link: string, mtu: string): Promise<void> {
    const process = this.#process(network);
    if (!usesDnsmasq(network.config)) return process.stop();
    const dir = this.#dir(network.name);
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    // Whether names are ours to give may have changed.
    const hosts = this.#hosts(network);
    const changed = hosts.all().filter((host) => hosts.set(host, network.config)).length > 0;
    const place = { link, dir, mtu, ...dnsmasqUser(dir), verbose: false };
    await process.keep(dnsmasqArguments(network.config, place), network.config['raw.dnsmasq'] ?? '');
    if (changed) process.reload();
  }
}

const digest = (words: readonly string[] | undefined): string =>
  createHash('sha256')
    .update(JSON.stringify(words ?? []))
    .digest('hex')
    .slice(0, 8);

/** What follows `ip link add NAME` for a tunnel; undefined while its keys do not yet make one. */
function tunnelWords(config: ConfigMap, tunnel: string, mtu: string): string[] | undefined {
  const key = (name: string): string => config[`tunnel.${tunnel}.${name}`] ?? '';
  if (key('protocol') === 'gre') {
    return key('local') && key('remote') ? ['mtu', mtu, 'type', 'gretap', 'local', key('local'), 'remote', key('remote')] : undefined;
  }
  if (key('protocol') !== 'vxlan') return undefined;
  const words = ['mtu', mtu, 'type', 'vxlan', 'id', key('id') || '1', 'dstport', key('port') || '0', 'ttl', key('ttl') || '1'];
  if (key('local') && key('remote')) return [...words, 'local', key('local'), 'remote', key('remote')];
  return [...words, 'group', key('group') || '239.0.0.1', ...(key('interface') ? ['dev', key('interface')] : [])];
}

async function defaultInterface(): Promise<string> {
  const [route] = await ipShow<{ dev: string }>(['-4', 'route', 'show', 'default']);
  if (!route) throw fault.invalid('No default gateway for IPv4');
  return route.dev;
}

/** For the whole host: the kernel has no way to say it for one bridge in IPv6, and forwards in IPv4 between any two that allow it. */
function allowForwarding(family: Family): void {
  if (family === 4) return setSysctl('net/ipv4/ip_forward', '1');
  const conf = 'net/ipv6/conf';
  const links = sysctlEntries(conf);
  // An interface that forwards no longer listens to routers, unless told so: the host's own address may come from one.
  for (const link of links) if (readSysctl(`${conf}/${link}/accept_ra`) === '1') setSysctl(`${conf}/${link}/accept_ra`, '2');
  for (const link of links) setSysctl(`${conf}/${link}/forwarding`, '1');
}
