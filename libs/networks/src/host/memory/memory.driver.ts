import { fault } from '#kit';
import { bridgeSubnet, dhcpSubnet, formatAddress, nthAddress, type ManagedNetwork, type NetworkLease } from '../../model/index.js';
import { leaseRows } from '../bridge/leases.js';
import type { NicKey, StaticHost } from '../bridge/static-hosts.js';
import type { Addresses, NetworkDriver } from '../driver.js';

/** Networks that exist in memory only: what simulations and tests of other subjects run on. It keeps the same promises as the real ones. */
export class MemoryNetworkDriver implements NetworkDriver, Addresses {
  readonly capabilities = { addresses: true, projects: false };
  /** What is up: id → the network as applied. */
  readonly up = new Map<number, ManagedNetwork>();
  /** Interfaces that somebody else has. */
  readonly foreign = new Set<string>();
  /** The next apply throws it. */
  failure: Error | undefined;
  readonly #hosts = new Map<string, StaticHost>();

  check(network: ManagedNetwork): Promise<void> {
    const taken = this.foreign.has(network.name) || [...this.up.values()].some(({ id, name }) => name === network.name && id !== network.id);
    if (taken) return Promise.reject(fault.invalid(`Network interface "${network.name}" already exists`));
    return Promise.resolve();
  }

  async apply(network: ManagedNetwork): Promise<void> {
    const failure = this.failure;
    this.failure = undefined;
    if (failure) throw failure;
    await this.check(network);
    this.up.set(network.id, network);
  }

  remove({ id }: ManagedNetwork): Promise<void> {
    this.up.delete(id);
    for (const key of this.#hosts.keys()) if (key.startsWith(`${id}/`)) this.#hosts.delete(key);
    return Promise.resolve();
  }

  stop({ id }: ManagedNetwork): Promise<void> {
    this.up.delete(id);
    return Promise.resolve();
  }

  async rename(network: ManagedNetwork, newName: string): Promise<void> {
    const renamed = { ...network, name: newName };
    await this.check(renamed);
    this.up.set(network.id, renamed);
  }

  interfaceOf({ id }: ManagedNetwork): string | undefined {
    return this.up.get(id)?.name;
  }

  sweep(exists: (id: number) => boolean): Promise<void> {
    for (const id of this.up.keys()) if (!exists(id)) this.up.delete(id);
    return Promise.resolve();
  }

  release(): void {}

  setHost(network: ManagedNetwork, host: StaticHost): Promise<void> {
    for (const [key, other] of this.#hosts) {
      if (!key.startsWith(`${network.id}/`) || key === keyOf(network, host)) continue;
      const clash = (host.ipv4 && host.ipv4 === other.ipv4 && host.ipv4) || (host.ipv6 && host.ipv6 === other.ipv6 && host.ipv6);
      if (!clash) continue;
      this.#hosts.delete(keyOf(network, host));
      return Promise.reject(fault.conflict(`IP address "${clash}" already defined on another NIC`));
    }
    this.#hosts.set(keyOf(network, host), { ...host, hwaddr: host.hwaddr.toLowerCase() });
    return Promise.resolve();
  }

  removeHost(network: ManagedNetwork, nic: NicKey): Promise<void> {
    this.#hosts.delete(keyOf(network, nic));
    return Promise.resolve();
  }

  host(network: ManagedNetwork, nic: NicKey): StaticHost | undefined {
    return this.#hosts.get(keyOf(network, nic));
  }

  freeAddress(network: ManagedNetwork, nic: NicKey, family: 4 | 6): string | undefined {
    const subnet = family === 4 ? dhcpSubnet(network.config, 4) : undefined;
    if (!subnet) return undefined;
    const mine = this.host(network, nic)?.ipv4;
    if (mine) return mine;
    const taken = new Set([formatAddress(bridgeSubnet(network.config, 4)!.address), ...this.#of(network).map((host) => host.ipv4)]);
    for (let n = 2; ; n++) {
      const address = formatAddress(nthAddress(subnet, n));
      if (!taken.has(address)) return address;
    }
  }

  leases(network: ManagedNetwork, project: string): NetworkLease[] {
    return leaseRows({ network, project, hosts: this.#of(network), dynamic: [], location: '' });
  }

  #of(network: ManagedNetwork): StaticHost[] {
    return [...this.#hosts].flatMap(([key, host]) => (key.startsWith(`${network.id}/`) ? [host] : []));
  }
}

const keyOf = (network: ManagedNetwork, { project, instance, device }: NicKey): string => `${network.id}/${project}/${instance}/${device}`;
