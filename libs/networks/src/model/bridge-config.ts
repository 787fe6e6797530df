import { isTrue } from '#config-keys';
import type { ConfigMap } from '#api-contract';
import { fault } from '#kit';
import { contains, parseAddress, parseRange, parseSubnet, splitList, type Family, type Subnet } from './addresses.js';

const isSet = (value: string | undefined): value is string => value !== undefined && value !== '' && value !== 'none';

/** The subnet of the bridge's own address; undefined when the family is off. */
export function bridgeSubnet(config: ConfigMap, family: Family): Subnet | undefined {
  const address = config[`ipv${family}.address`];
  return isSet(address) ? parseSubnet(address) : undefined;
}

/** The subnet that DHCP serves; undefined when it does not. */
export function dhcpSubnet(config: ConfigMap, family: Family): Subnet | undefined {
  return isTrue(config[`ipv${family}.dhcp`], true) ? bridgeSubnet(config, family) : undefined;
}

/** Whether a DHCP and DNS service belongs to the bridge. */
export const usesDnsmasq = (config: ConfigMap): boolean => isSet(config['ipv4.address']) || isSet(config['ipv6.address']);

/** Names of the tunnels that `tunnel.NAME.*` keys describe. */
export function tunnelNames(config: ConfigMap): string[] {
  const names = Object.keys(config)
    .filter((key) => key.startsWith('tunnel.'))
    .map((key) => key.split('.')[1]!);
  return [...new Set(names)].sort();
}

/** What is between the keys of a bridge of this name. @throws Fault invalid */
export function checkBridge(name: string, config: ConfigMap): void {
  if (config['bridge.mode'] === 'fan') throw fault.unsupported('Fan networks are not supported');
  if (config['bridge.driver'] === 'openvswitch') throw fault.unsupported("Open vSwitch isn't installed on this system", { status: 400 });
  for (const tunnel of tunnelNames(config)) {
    if (name.length + tunnel.length > 14) throw fault.invalid(`Network name too long for tunnel interface: ${name}-${tunnel}`);
    if (!/^[-_a-zA-Z0-9]+$/.test(tunnel)) throw fault.invalid(`Invalid network configuration key: tunnel.${tunnel}`);
  }
  for (const family of [4, 6] as const) checkRanges(config, family);
  if (
    isSet(config['bridge.hwaddr']) &&
    isSet(config['bridge.external_interfaces']) &&
    config['ipv4.address'] === 'none' &&
    config['ipv6.address'] === 'none'
  )
    throw fault.invalid('Cannot use static "bridge.hwaddr" MAC address when bridge has no IP addresses and has external interfaces set');
}

function checkRanges(config: ConfigMap, family: Family): void {
  const subnet = dhcpSubnet(config, family);
  if (!subnet) return;
  for (const text of splitList(config[`ipv${family}.dhcp.ranges`])) {
    const range = parseRange(text)!;
    if (!contains(subnet, range.first) || !contains(subnet, range.last))
      throw fault.invalid(`IP range "${text}" does not fall within any of the allowed networks`);
  }
}

/** What a new bridge gets where the client said nothing. `auto` remains for the host to replace, which knows what is free. */
export function withBridgeDefaults(config: ConfigMap, hostHasIpv6: boolean): ConfigMap {
  const filled = { ...config };
  if (!filled['ipv4.address']) filled['ipv4.address'] = 'auto';
  if (filled['ipv4.address'] === 'auto' && !filled['ipv4.nat']) filled['ipv4.nat'] = 'true';
  if (!filled['ipv6.address'] && hostHasIpv6) filled['ipv6.address'] = 'auto';
  if (filled['ipv6.address'] === 'auto' && !filled['ipv6.nat']) filled['ipv6.nat'] = 'true';
  return filled;
}

/**
 * Whether `address` may be promised to one nic of the network: inside its subnet and not the bridge's own.
 * @throws Fault invalid
 */
export function checkStaticAddress(name: string, config: ConfigMap, family: Family, address: string): void {
  const subnet = bridgeSubnet(config, family);
  const parsed = parseAddress(address);
  if (!subnet || !parsed) return;
  if (!contains(subnet, parsed)) throw fault.invalid(`Device IP address "${address}" not within network "${name}" subnet`);
  if (parsed.value === subnet.address.value) throw fault.invalid(`IP address "${address}" is assigned to parent managed network device "${name}"`);
}
