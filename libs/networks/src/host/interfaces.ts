import { linkExists } from '#host-kit';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fault } from '#kit';
import type { BondState, BridgeState, NetworkState } from '../model/index.js';
import { addressesOf, linkFile, listLinks } from './ip.command.js';

const IFF_UP = 0x1;
const IFF_BROADCAST = 0x2;
const IFF_LOOPBACK = 0x8;
const IFF_POINTOPOINT = 0x10;

/** What an interface of the host is, in the API's words for networks that nobody manages. */
export function interfaceType(link: string): string {
  if ((flagsOf(link) & IFF_LOOPBACK) !== 0) return 'loopback';
  const has = (path: string): boolean => existsSync(`/sys/class/net/${link}/${path}`);
  if (has('bridge')) return 'bridge';
  if (existsSync(`/proc/net/vlan/${link}`)) return 'vlan';
  if (has('device')) return 'physical';
  if (has('bonding')) return 'bond';
  return 'unknown';
}

export const hostInterfaces = (): { name: string; type: string }[] => listLinks().map((name) => ({ name, type: interfaceType(name) }));

/** Addresses, counters and layers of one interface. @throws Fault notFound */
export async function interfaceState(link: string): Promise<NetworkState> {
  if (!linkExists(link)) throw fault.notFound(`Network interface "${link}" not found`);
  const flags = flagsOf(link);
  const addresses = await addressesOf(link);
  return {
    addresses: addresses.map((entry) => ({
      family: entry.family,
      address: entry.local,
      netmask: String(entry.prefixlen),
      scope: scopeOf(entry.local),
    })),
    counters: {
      bytes_received: counter(link, 'rx_bytes'),
      bytes_sent: counter(link, 'tx_bytes'),
      packets_received: counter(link, 'rx_packets'),
      packets_sent: counter(link, 'tx_packets'),
    },
    hwaddr: hwaddrOf(link),
    mtu: Number(linkFile(link, 'mtu')),
    state: (flags & IFF_UP) !== 0 ? 'up' : 'down',
    type: typeOf(flags),
    bond: bondState(link),
    bridge: bridgeState(link),
    vlan: vlanState(link),
    ovn: null,
  };
}

const flagsOf = (link: string): number => Number(linkFile(link, 'flags') || 0);
const counter = (link: string, name: string): number => Number(linkFile(link, `statistics/${name}`) || 0);

function hwaddrOf(link: string): string {
  const address = linkFile(link, 'address');
  return /^(00:)*00$/.test(address) ? '' : address;
}

function typeOf(flags: number): string {
  if ((flags & IFF_LOOPBACK) !== 0) return 'loopback';
  if ((flags & IFF_POINTOPOINT) !== 0) return 'point-to-point';
  return (flags & IFF_BROADCAST) !== 0 ? 'broadcast' : 'unknown';
}

/** As clients of LXD see it: 'local' is loopback, 'link' what no router forwards. */
export function scopeOf(address: string): string {
  if (address.startsWith('127.') || address === '::1') return 'local';
  return address.startsWith('169.254.') || /^fe[89ab]/.test(address) ? 'link' : 'global';
}

function bridgeState(link: string): BridgeState | null {
  const file = (name: string): string => linkFile(link, `bridge/${name}`);
  if (!existsSync(`/sys/class/net/${link}/bridge`)) return null;
  return {
    id: file('bridge_id'),
    stp: file('stp_state') === '1',
    forward_delay: Number(file('forward_delay') || 0),
    vlan_default: Number(file('default_pvid') || 0),
    vlan_filtering: file('vlan_filtering') === '1',
    upper_devices: readdirSync(`/sys/class/net/${link}/brif`),
  };
}

/** From /proc/net/vlan, which only kernels with VLANs have. */
function vlanState(link: string): NetworkState['vlan'] {
  const path = `/proc/net/vlan/${link}`;
  if (!existsSync(path)) return null;
  const text = readFileSync(path, 'utf8');
  return { lower_device: /^Device: (\S+)/m.exec(text)?.[1] ?? '', vid: Number(/VID: (\d+)/.exec(text)?.[1] ?? 0) };
}

function bondState(link: string): BondState | null {
  const file = (name: string): string => linkFile(link, `bonding/${name}`);
  if (!existsSync(`/sys/class/net/${link}/bonding`)) return null;
  const word = (name: string): string => file(name).split(' ')[0] ?? '';
  return {
    mode: word('mode'),
    transmit_policy: word('xmit_hash_policy'),
    up_delay: Number(file('updelay')),
    down_delay: Number(file('downdelay')),
    mii_frequency: Number(file('miimon')),
    mii_state: file('mii_status'),
    lower_devices: file('slaves').split(' ').filter(Boolean),
  };
}
