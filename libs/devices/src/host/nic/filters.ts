import { isTrue } from '#config-keys';
import { baseOf, parseSubnet, splitList } from '#networks/model';
import type { Device } from '../device-driver.js';

/** What may come from a nic of one family: undefined: anything; []: nothing; else from these networks only. */
export interface AllowedSources {
  ipv4?: readonly string[];
  ipv6?: readonly string[];
}

export const isFiltered = (device: Device): boolean => ['mac', 'ipv4', 'ipv6'].some((what) => isTrue(device[`security.${what}_filtering`]));

/** From a device's keys and the address that it was given. */
export function allowedSources(device: Device, addresses: { ipv4?: string; ipv6?: string }): AllowedSources {
  const of = (family: 4 | 6): string[] | undefined => {
    const name = `ipv${family}` as const;
    if (!isTrue(device[`security.${name}_filtering`])) return undefined;
    const address = device[`${name}.address`] || addresses[name] || 'none';
    if (address === 'none') return [];
    return [`${address}/${family === 4 ? 32 : 128}`, ...splitList(device[`${name}.routes`]), ...splitList(device[`${name}.routes.external`])];
  };
  return { ipv4: of(4), ipv6: of(6) };
}

/**
 * Rules for what a bridge hears from one port, to the host itself (`input`) and to other ports (`forward`): no MAC address, ARP answer or neighbour
 * advertisement but its own. nft has no words for the inside of a neighbour advertisement, hence the offsets: type 136 carries the target address at bit 64
 * and the target's MAC address at bit 208 of the ICMPv6 message, which begins 320 bits into the packet.
 */
export function filterRules(link: string, hwaddr: string, allowed: AllowedSources): { input: string[]; forward: string[] } {
  const from = `iifname "${link}"`;
  const macHex = `0x${hwaddr.replaceAll(':', '')}`;
  const own = [
    `${from} ether saddr != ${hwaddr} drop`,
    `${from} ether type arp arp saddr ether != ${hwaddr} drop`,
    `${from} ether type ip6 icmpv6 type 136 @nh,528,48 != ${macHex} drop`,
  ];
  const rules = (toHost: boolean): string[] => {
    const lines = [...own];
    if (allowed.ipv4) {
      if (toHost && allowed.ipv4.length > 0) lines.push(`${from} ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept`);
      for (const net of allowed.ipv4) lines.push(`${from} ether type arp arp saddr ip ${net} accept`, `${from} ether type ip ip saddr ${net} accept`);
      lines.push(`${from} ether type arp drop`, `${from} ether type ip drop`);
    }
    if (allowed.ipv6) {
      if (allowed.ipv6.length > 0) {
        if (toHost) {
          lines.push(`${from} ether type ip6 ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept`);
          lines.push(`${from} ether type ip6 ip6 saddr fe80::/10 ip6 daddr ff02::2 icmpv6 type 133 accept`);
        }
        lines.push(`${from} ether type ip6 icmpv6 type 134 drop`);
        for (const net of allowed.ipv6) {
          lines.push(`${from} ether type ip6 ip6 saddr ${net} accept`);
          lines.push(`${from} ether type ip6 icmpv6 type 136 @nh,384,${prefixOf(net)} ${prefixHex(net)} accept`);
        }
      }
      lines.push(`${from} ether type ip6 drop`);
    }
    if (allowed.ipv4 ?? allowed.ipv6) lines.push(`${from} ether type != { arp, ip, ip6 } drop`);
    return lines;
  };
  return { input: rules(true), forward: rules(false) };
}

const prefixOf = (net: string): number => parseSubnet(net)!.prefix;

/** The leading bits of a network as nft compares them: right-aligned. */
function prefixHex(net: string): string {
  const subnet = parseSubnet(net)!;
  return `0x${(baseOf(subnet).value >> BigInt(128 - subnet.prefix)).toString(16)}`;
}
