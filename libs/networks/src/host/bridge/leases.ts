import type { ConfigMap } from '#api-contract';
import { isTrue } from '#config-keys';
import { bridgeSubnet, eui64, formatAddress, type NetworkLease } from '../../model/index.js';
import type { StaticHost } from './static-hosts.js';

/** A lease as dnsmasq's file has it. */
export interface DynamicLease {
  hwaddr: string;
  address: string;
  hostname: string;
  /** IAID and DUID of a DHCPv6 lease. */
  v6?: { iaid: string; clientDuid: string };
}

/** Lines `expiry mac address hostname client-id`, with `duid X` before those of DHCPv6. */
export function parseLeases(text: string): { leases: DynamicLease[]; serverDuid?: string } {
  const leases: DynamicLease[] = [];
  let serverDuid: string | undefined;
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words[0] === 'duid') serverDuid = words[1];
    if (words.length < 5) continue;
    const [, id, address, hostname, client] = words as [string, string, string, string, string];
    if (address.includes(':')) {
      // A client may make its DUID of its MAC, and need not: a DHCPv6 lease says nothing sure about who holds it.
      leases.push({ hwaddr: '', address, hostname, v6: { iaid: id, clientDuid: client } });
    } else leases.push({ hwaddr: id.toLowerCase(), address, hostname });
  }
  return { leases, serverDuid };
}

/**
 * Everything that has an address on a network, for the callers of one project: gateways (for the network's own project), promised addresses, addresses that
 * clients make themselves, and dynamic leases of nics of that project.
 */
export function leaseRows(options: {
  network: { name: string; project: string; config: ConfigMap };
  project: string;
  hosts: readonly StaticHost[];
  dynamic: readonly DynamicLease[];
  location: string;
}): NetworkLease[] {
  const { network, project, location } = options;
  const rows: NetworkLease[] = [];
  if (project === network.project) {
    for (const family of [4, 6] as const) {
      const subnet = bridgeSubnet(network.config, family);
      if (subnet) rows.push({ hostname: `${network.name}.gw`, hwaddr: '', address: formatAddress(subnet.address), type: 'gateway', location: '' });
    }
  }
  const hosts = options.hosts.filter((host) => host.project === project);
  const subnet6 = bridgeSubnet(network.config, 6);
  for (const host of hosts) {
    const row = (address: string, type: NetworkLease['type']): void => {
      rows.push({ hostname: host.instance, hwaddr: host.hwaddr, address, type, location });
    };
    if (host.ipv4) row(host.ipv4, 'static');
    if (host.ipv6) row(host.ipv6, 'static');
    if (subnet6 && !isTrue(network.config['ipv6.dhcp.stateful'])) row(formatAddress(eui64(subnet6, host.hwaddr)), 'dynamic');
  }
  const macs = new Set(hosts.map((host) => host.hwaddr));
  for (const lease of options.dynamic) {
    if (rows.some((row) => row.hwaddr === lease.hwaddr && row.address === lease.address)) continue;
    if (lease.hwaddr !== '' && !macs.has(lease.hwaddr)) continue;
    if (lease.hwaddr === '' && project !== network.project) continue;
    rows.push({ hostname: lease.hostname, hwaddr: lease.hwaddr, address: lease.address, type: 'dynamic', location });
  }
  return rows;
}
