import { isTrue } from '#config-keys';
import type { ConfigMap } from '#api-contract';
import { bridgeSubnet, dhcpSubnet, formatAddress, nthAddress, splitList, type Subnet } from '../../model/index.js';

export interface DnsmasqPlace {
  /** Interface that it serves. */
  link: string;
  /** STATE/networks/NAME. */
  dir: string;
  mtu: string;
  /** User and group to become; root stays root. */
  user: string;
  group: string;
  verbose: boolean;
}

/** Arguments of the DHCP and DNS service of one bridge: LXD's, but for the pid file, which dnsmasq writes itself once it serves. */
export function dnsmasqArguments(config: ConfigMap, place: DnsmasqPlace): string[] {
  const list = ['--keep-in-foreground', '--strict-order', '--bind-interfaces', '--except-interface=lo', '--no-ping'];
  list.push(`--pid-file=${place.dir}/dnsmasq.pid`, `--interface=${place.link}`, '--dhcp-rapid-commit');
  if (!place.verbose) list.push('--quiet-dhcp', '--quiet-dhcp6', '--quiet-ra');
  const dhcp4 = dhcpSubnet(config, 4);
  const dhcp6 = dhcpSubnet(config, 6);
  if (dhcp4 || dhcp6)
    list.push(
      '--dhcp-no-override',
      '--dhcp-authoritative',
      `--dhcp-leasefile=${place.dir}/dnsmasq.leases`,
      `--dhcp-hostsfile=${place.dir}/dnsmasq.hosts`,
    );
  const subnet4 = bridgeSubnet(config, 4);
  if (subnet4) list.push(`--listen-address=${formatAddress(subnet4.address)}`);
  if (dhcp4) list.push(...dhcp4Arguments(config, dhcp4, place.mtu));
  const subnet6 = bridgeSubnet(config, 6);
  if (subnet6) list.push(`--listen-address=${formatAddress(subnet6.address)}`, '--enable-ra');
  if (dhcp6) list.push(...dhcp6Arguments(config, dhcp6, place.link));
  else if (subnet6) list.push('--dhcp-range', `::,constructor:${place.link},ra-only`);
  if (config['dns.mode'] !== 'none') {
    const domain = config['dns.domain'] || 'lxd';
    list.push('-s', domain, '--interface-name', `_gateway.${domain},${place.link}`, '-S', `/${domain}/`);
  }
  // Also keeps it from reading /etc/dnsmasq.conf.
  list.push(`--conf-file=${place.dir}/dnsmasq.raw`, '-u', place.user, '-g', place.group);
  return list;
}

function dhcp4Arguments(config: ConfigMap, subnet: Subnet, mtu: string): string[] {
  const list: string[] = [];
  if (config['ipv4.dhcp.gateway']) list.push(`--dhcp-option-force=3,${config['ipv4.dhcp.gateway']}`);
  if (mtu !== '1500') list.push(`--dhcp-option-force=26,${mtu}`);
  if (config['dns.search']) list.push(`--dhcp-option-force=119,${splitList(config['dns.search']).join(',')}`);
  const expiry = config['ipv4.dhcp.expiry'] || '1h';
  const whole = `${formatAddress(nthAddress(subnet, 2))},${formatAddress(nthAddress(subnet, -2))}`;
  return [...list, ...ranges(config['ipv4.dhcp.ranges'], whole, expiry)];
}

function dhcp6Arguments(config: ConfigMap, subnet: Subnet, link: string): string[] {
  if (!isTrue(config['ipv6.dhcp.stateful'])) return ['--dhcp-range', `::,constructor:${link},ra-stateless,ra-names`];
  const tail = `${subnet.prefix},${config['ipv6.dhcp.expiry'] || '1h'}`;
  const whole = `${formatAddress(nthAddress(subnet, 2))},${formatAddress(nthAddress(subnet, -1))}`;
  return ranges(config['ipv6.dhcp.ranges'], whole, tail);
}

function ranges(configured: string | undefined, whole: string, tail: string): string[] {
  const list = splitList(configured).map((range) =>
    range
      .split('-')
      .map((end) => end.trim())
      .join(','),
  );
  return (list.length > 0 ? list : [whole]).flatMap((range) => ['--dhcp-range', `${range},${tail}`]);
}
