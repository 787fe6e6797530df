import type { ManagedNetwork, NetworkLease } from '../model/index.js';
import type { NicKey, StaticHost } from './bridge/static-hosts.js';

/** Facts about a type of network. The core asks these, never the type's name. */
export interface NetworkCapabilities {
  /** Gives addresses and names to instances, and so takes promises (`Addresses`). */
  addresses: boolean;
  /** May exist outside the default project. */
  projects: boolean;
}

/**
 * One type of network on this member. Calls for one network come one at a time. `apply` and `remove` are safe to repeat, and look at the host instead of
 * remembering: after a restart of the daemon, `apply` leaves alone whatever is as it should be, so that nothing is interrupted.
 */
export interface NetworkDriver {
  readonly capabilities: NetworkCapabilities;
  /** Whether the network's interface could be made here. @throws Fault invalid when its name is taken by something that is not ours */
  check(network: ManagedNetwork): Promise<void>;
  /** Makes the host what config says: interface, addresses, routes, firewall, services. What fails half way is left for the next apply or remove. */
  apply(network: ManagedNetwork): Promise<void>;
  /** Interface, rules, services and files gone. Nothing there is success. */
  remove(network: ManagedNetwork): Promise<void>;
  /** Under a new name, with its leases and promises. Not while in use. On failure it is back under the old one. */
  rename(network: ManagedNetwork, newName: string): Promise<void>;
  /** The host's interface for it; undefined when it is not there. */
  interfaceOf(network: ManagedNetwork): string | undefined;
  /** Interface, rules and services gone, files kept: the machine goes down. */
  stop(network: ManagedNetwork): Promise<void>;
  /** Removes what this daemon made for networks that are no more. Asked again right before each removal: a network may be born meanwhile. */
  sweep(exists: (id: number) => boolean): Promise<void>;
  /** Stops watching; what runs keeps running. The daemon ends. */
  release(): void;
}

/** For networks that give addresses. */
export interface Addresses {
  /** Promises a nic its address and name, instead of what it was promised before. @throws Fault conflict when another nic has that address: then it has none */
  setHost(network: ManagedNetwork, host: StaticHost): Promise<void>;
  /** Takes the promise back, and the lease of that MAC with it. */
  removeHost(network: ManagedNetwork, nic: NicKey): Promise<void>;
  host(network: ManagedNetwork, nic: NicKey): StaticHost | undefined;
  /** An address of the family that nobody was promised or leased, for a nic that is filtered by it; what it has already, if it has one. */
  freeAddress(network: ManagedNetwork, nic: NicKey, family: 4 | 6): string | undefined;
  leases(network: ManagedNetwork, project: string): NetworkLease[];
}

export const givesAddresses = (driver: NetworkDriver): driver is NetworkDriver & Addresses => driver.capabilities.addresses;
