import { defineKeys, type KeyDefinition } from '#config-keys';
import * as check from './checks.js';

const key = (type: KeyDefinition['type'], short: string, more: Partial<Omit<KeyDefinition, 'doc'>> = {}): KeyDefinition => ({
  type,
  since: 'network',
  whileInUse: 'at-once',
  ...more,
  doc: { short },
});

const addresses = (family: 4 | 6): Record<string, KeyDefinition> => {
  const v = `ipv${family}`;
  return {
    [`${v}.address`]: key('string', `Address and prefix of the bridge; 'none' turns IPv${family} off, 'auto' picks a free subnet`, {
      check: check.orWords(['none', 'auto'], check.interfaceAddressOf(family)),
    }),
    [`${v}.dhcp`]: key('bool', 'Whether addresses are given by DHCP', { default: 'true' }),
    [`${v}.dhcp.expiry`]: key('string', 'When leases end', { default: '1h', check: expiry }),
    [`${v}.dhcp.ranges`]: key('string', 'Ranges that DHCP gives from: first-last, first-last …', { check: check.listOf(check.rangeOf(family)) }),
    [`${v}.firewall`]: key('bool', 'Whether firewall rules are made for this network', { since: 'network_firewall_filtering', default: 'true' }),
    [`${v}.nat`]: key('bool', 'Whether traffic that leaves the network gets the host’s address'),
    [`${v}.nat.address`]: key('string', 'Source address of that traffic', { since: 'network_nat_address', check: check.addressOf(family) }),
    [`${v}.nat.order`]: key('string', 'Whether our NAT rules stand before or after those of others', {
      since: 'network_nat_order',
      default: 'before',
      check: check.oneOf('before', 'after'),
    }),
    [`${v}.routes`]: key('string', 'Further networks to route to the bridge', { check: check.listOf(check.networkOf(family)) }),
    [`${v}.routing`]: key('bool', 'Whether traffic is forwarded into and out of the bridge', { default: 'true' }),
    [`${v}.ovn.ranges`]: key('string', 'Ranges for the routers of OVN networks', { check: check.listOf(check.rangeOf(family)) }),
  };
};

const later: Record<string, KeyDefinition> = Object.fromEntries(
  ['maas.subnet.ipv4', 'maas.subnet.ipv6'].map((name) => [name, key('string', 'Kept for clients that set it', { check: check.oneLine })]),
);

const tunnels: Record<string, KeyDefinition> = {
  'tunnel.*.protocol': key('string', 'gre or vxlan', { check: check.oneOf('gre', 'vxlan') }),
  'tunnel.*.local': key('string', 'Local end', { check: check.anyAddress }),
  'tunnel.*.remote': key('string', 'Remote end', { check: check.anyAddress }),
  'tunnel.*.group': key('string', 'Multicast group of a vxlan', { default: '239.0.0.1', check: check.anyAddress }),
  'tunnel.*.id': key('integer', 'Network id of a vxlan', { default: '1' }),
  'tunnel.*.interface': key('string', 'Interface that carries a vxlan', { check: check.interfaceName }),
  'tunnel.*.port': key('integer', 'UDP port of a vxlan', { check: check.integerBetween(1, 65535) }),
  'tunnel.*.ttl': key('integer', 'TTL of multicast packets', { since: 'network_vxlan_ttl', default: '1', check: check.integerBetween(0, 255) }),
};

/** A DHCP lease time as dnsmasq reads it. */
function expiry(value: string): void {
  if (!/^(\d{1,9}[smhdw]?|infinite)$/.test(value)) check.oneOf('45s', '10m', '1h', '2d', '1w', 'infinite')(value);
}

/** Keys of a network of type bridge, LXD's, as far as Muster gives them a meaning. */
export const bridgeKeys = defineKeys(
  'network-bridge',
  {
    'bridge.driver': key('string', 'native', { default: 'native', check: check.oneOf('native', 'openvswitch') }),
    'bridge.external_interfaces': key('string', 'Unconfigured host interfaces to put into the bridge', { check: check.listOf(check.interfaceName) }),
    'bridge.hwaddr': key('string', 'MAC address of the bridge', { check: check.mac }),
    'bridge.mode': key('string', 'standard', { default: 'standard', check: check.oneOf('standard', 'fan') }),
    'bridge.mtu': key('string', 'MTU of the bridge', { default: '1500', check: check.mtu }),
    'dns.domain': key('string', 'Domain of the instances', { default: 'lxd', check: check.domainName }),
    'dns.mode': key('string', 'Who names instances: we (managed), they (dynamic), nobody (none)', {
      default: 'managed',
      check: check.oneOf('dynamic', 'managed', 'none'),
    }),
    'dns.search': key('string', 'Search domains, a comma list', { since: 'network_dns_search', check: check.listOf(check.domainName) }),
    'ipv4.dhcp.gateway': key('string', 'Gateway that DHCP announces', { since: 'network_dhcp_gateway', check: check.addressOf(4) }),
    'ipv6.dhcp.stateful': key('bool', 'Whether DHCPv6 gives addresses, instead of clients making their own'),
    'raw.dnsmasq': key('string', 'Lines for the configuration of dnsmasq'),
    'user.*': key('string', 'Free for clients'),
  },
  addresses(4),
  addresses(6),
  later,
  tunnels,
);
