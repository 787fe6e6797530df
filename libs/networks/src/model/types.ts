import type { ConfigMap } from '#api-contract';

/** Types of managed networks that Muster makes. */
export type NetworkType = 'bridge' | 'macvlan';

/** Names of states as clients see them. */
export type NetworkStatus = 'Pending' | 'Created' | 'Errored' | 'Unavailable';

/** Config keys whose value belongs to one member. */
export const memberKeys: readonly string[] = ['bridge.external_interfaces', 'parent', 'bgp.ipv4.nexthop', 'bgp.ipv6.nexthop'];

/** A managed network as a member's host wing works with it: config of the member merged in. */
export interface ManagedNetwork {
  id: number;
  project: string;
  name: string;
  type: string;
  config: ConfigMap;
}

export interface NetworkLease {
  hostname: string;
  hwaddr: string;
  address: string;
  type: 'static' | 'dynamic' | 'gateway' | 'uplink';
  location: string;
}

export interface NetworkState {
  addresses: { family: string; address: string; netmask: string; scope: string }[];
  counters: { bytes_received: number; bytes_sent: number; packets_received: number; packets_sent: number };
  hwaddr: string;
  mtu: number;
  state: string;
  type: string;
  bond: BondState | null;
  bridge: BridgeState | null;
  vlan: { lower_device: string; vid: number } | null;
  ovn: null;
}

export interface BondState {
  mode: string;
  transmit_policy: string;
  up_delay: number;
  down_delay: number;
  mii_frequency: number;
  mii_state: string;
  lower_devices: string[];
}

export interface BridgeState {
  id: string;
  stp: boolean;
  forward_delay: number;
  vlan_default: number;
  vlan_filtering: boolean;
  upper_devices: string[];
}
