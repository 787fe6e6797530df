import { readSysctl } from '#host-kit';
import { apiUrl } from '#api-contract';
import { fault, Fault, type Logger } from '#kit';
import { NetworksAgentService, type Calls, type HostContext, type NetworkMessage } from '#members';
import { internalIdentity } from '#replica/state';
import type { Applied } from '#replica';
import type { About, Warnings } from '#warnings/host';
import { bridgeSubnet, withNetworkDefaults, type ManagedNetwork, type NetworkType } from '../model/index.js';
import { findNetwork, networkById, networkOn, networks, setNetworkStatus } from '../state/index.js';
import { givesAddresses, type NetworkDriver } from './driver.js';
import { pickAddresses } from './free-subnet.js';
import { hostInterfaces, interfaceState } from './interfaces.js';
import { networkDrivers } from './registry.js';
import { Serial } from './serial.js';
import type { NicKey, StaticHost } from './bridge/static-hosts.js';

/** Networks as the devices of this member's instances see them. Bridges live in the default project, whatever the instance's. */
export interface NetworksHost {
  /** The managed network of that name, as this member has it; undefined when there is none. */
  find(name: string): ManagedNetwork | undefined;
  /** The host interface of a managed network. @throws Fault unavailable when it is not up here */
  interfaceOf(network: ManagedNetwork): string;
  /** Whether the network gives addresses, and so takes promises. */
  givesAddresses(network: ManagedNetwork): boolean;
  /** Promises a nic its address and name, before it is plugged in. @throws Fault conflict when the address is another's */
  setHost(network: ManagedNetwork, host: StaticHost): Promise<void>;
  /** The nic is gone for good: promise and lease end. */
  removeHost(network: ManagedNetwork, nic: NicKey): Promise<void>;
  host(network: ManagedNetwork, nic: NicKey): StaticHost | undefined;
  /** An address nobody has, or the one the nic has; undefined when the network gives none of that family. @throws Fault conflict when all are taken */
  freeAddress(network: ManagedNetwork, nic: NicKey, family: 4 | 6): string | undefined;
}

export interface NetworksAgentOptions {
  /** Instead of the real ones. */
  drivers?: Partial<Record<NetworkType, NetworkDriver>>;
  warnings?: Warnings;
}

const retryMs = 60_000;
const settleMs = 300;

/**
 * The managed networks of this member. It makes the host what the replica says: at start, when a row changes (on whatever member the change was asked
 * for), and again after a failure. Nothing that is as it should be is touched, so a restart of the daemon interrupts no traffic.
 */
export class NetworksAgent implements NetworksHost {
  readonly #drivers: Record<NetworkType, NetworkDriver>;
  readonly #turn = new Serial<number>();
  /** What was last applied, to tell a change from an echo of our own. */
  readonly #applied = new Map<number, { network: ManagedNetwork; content: string }>();
  readonly #log: Logger;
  #watch: Disposable | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly context: HostContext,
    private readonly options: NetworksAgentOptions = {},
  ) {
    this.#log = context.log.child({ subject: 'networks' });
    this.#drivers = Object.fromEntries(
      Object.entries(networkDrivers).map(([type, make]) => [type, options.drivers?.[type as NetworkType] ?? make(context)]),
    ) as Record<NetworkType, NetworkDriver>;
    context.members.serve(NetworksAgentService, this.#service());
  }

  /** Brings up the networks of this member, and keeps them so. A network that fails is logged and tried again; it does not hold up the start. */
  async start(): Promise<void> {
    await this.context.replica.barrier();
    this.#watch = this.context.replica.watch((applied) => this.#onApplied(applied));
    await this.reconcile();
  }

  /** The daemon ends: networks stay as they are. */
  release(): void {
    this.#watch?.[Symbol.dispose]();
    clearTimeout(this.#timer);
    for (const driver of Object.values(this.#drivers)) driver.release();
  }

  /** The machine goes down: interfaces, services and rules go. Rows stay. */
  async shutdown(): Promise<void> {
    this.release();
    for (const network of this.#mine()) await this.#turn.run(network.id, () => this.#driver(network).stop(network));
  }

  /** Looks at rows and host, and makes the host right. */
  async reconcile(): Promise<void> {
    const wanted = this.#mine();
    for (const driver of Object.values(this.#drivers)) {
      await driver
        .sweep((id) => networkById(this.context.replica.reader, id) !== undefined)
        .catch((error: unknown) => this.#log.error({ err: error }, 'could not remove what was left of a network'));
    }
    let failed = false;
    await Promise.all(
      wanted.map(async (network) => {
        if (this.#applied.get(network.id)?.content === contentOf(network)) return;
        try {
          await this.#apply(network.id);
        } catch (error) {
          failed = true;
          this.#log.error({ err: error, network: network.name }, 'could not bring up a network');
          this.options.warnings?.raise('networkUnavailable', Fault.from(error).message, aboutNetwork(network));
        }
      }),
    );
    if (failed) this.#again(retryMs);
  }

  find(name: string): ManagedNetwork | undefined {
    const record = findNetwork(this.context.replica.reader, 'default', name);
    return record && networkOn(record, this.context.server.memberId);
  }

  interfaceOf(network: ManagedNetwork): string {
    const link = this.#driver(network).interfaceOf(network);
    if (!link) throw fault.unavailable(`Network "${network.name}" unavailable on this server`);
    return link;
  }

  givesAddresses(network: ManagedNetwork): boolean {
    return givesAddresses(this.#driver(network)) && (bridgeSubnet(network.config, 4) ?? bridgeSubnet(network.config, 6)) !== undefined;
  }

  async setHost(network: ManagedNetwork, host: StaticHost): Promise<void> {
    const driver = this.#driver(network);
    if (givesAddresses(driver)) await this.#turn.run(network.id, () => driver.setHost(network, host));
  }

  async removeHost(network: ManagedNetwork, nic: NicKey): Promise<void> {
    const driver = this.#driver(network);
    if (givesAddresses(driver)) await this.#turn.run(network.id, () => driver.removeHost(network, nic));
  }

  host(network: ManagedNetwork, nic: NicKey): StaticHost | undefined {
    const driver = this.#driver(network);
    return givesAddresses(driver) ? driver.host(network, nic) : undefined;
  }

  freeAddress(network: ManagedNetwork, nic: NicKey, family: 4 | 6): string | undefined {
    const driver = this.#driver(network);
    return givesAddresses(driver) ? driver.freeAddress(network, nic, family) : undefined;
  }

  #onApplied({ touched }: Applied): void {
    if (touched === 'everything' || touched.some(({ table }) => table === 'networks' || table === 'network_members')) this.#again(settleMs);
  }

  #again(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reconcile(), afterMs).unref();
  }

  #mine(): ManagedNetwork[] {
    const { memberId } = this.context.server;
    return networks(this.context.replica.reader).flatMap((record) => networkOn(record, memberId) ?? []);
  }

  #driver({ type }: Pick<ManagedNetwork, 'type'>): NetworkDriver {
    const driver = this.#drivers[type as NetworkType];
    if (!driver) throw fault.unsupported(`Network type "${type}" is not supported`);
    return driver;
  }

  #network(id: number): ManagedNetwork {
    const record = networkById(this.context.replica.reader, id);
    const mine = record && networkOn(record, this.context.server.memberId);
    if (!mine) throw fault.notFound('Network not found');
    return mine;
  }

  /** Applies the row as it is when its turn has come, and records what came of it. */
  async #apply(id: number): Promise<void> {
    await this.#turn.run(id, async () => {
      const network = this.#network(id);
      this.#applied.delete(id);
      await this.#driver(network).apply(network);
      this.#applied.set(id, { network, content: contentOf(network) });
      const { warnings } = this.options;
      warnings?.resolve('networkUnavailable', aboutNetwork(network));
      const wide = (bridgeSubnet(network.config, 6)?.prefix ?? 0) > 64;
      if (wide) warnings?.raise('ipv6PrefixTooLarge', 'Clients get no addresses by themselves', aboutNetwork(network));
      else warnings?.resolve('ipv6PrefixTooLarge', aboutNetwork(network));
    });
    const { memberId } = this.context.server;
    const status = networkById(this.context.replica.reader, id)?.members.get(memberId)?.status;
    if (status !== undefined && status !== 'Created')
      await this.context.replica.submit(setNetworkStatus, { id, member: memberId, status: 'Created' }, { identity: internalIdentity });
  }

  #service(): Calls<NetworksAgentService> {
    const { replica } = this.context;
    const done = {};
    return {
      fillNetwork: async ({ type, config, onlyAuto }) => {
        this.#driver({ type });
        const hasIpv6 = readSysctl('net/ipv6/conf/default/disable_ipv6') === '0';
        const filled = onlyAuto ? config : withNetworkDefaults(type, config, { hasIpv6 });
        const taken = networks(replica.reader).flatMap((record) => [record.config['ipv4.address'] ?? '', record.config['ipv6.address'] ?? '']);
        return { config: await pickAddresses(filled, taken) };
      },
      checkNetwork: async (message) => {
        await this.#driver(message).check(managed(message));
        return done;
      },
      applyNetwork: async ({ id }) => {
        await this.#apply(id);
        return done;
      },
      renameNetwork: async ({ network, newName }) => {
        const before = managed(network!);
        await this.#turn.run(before.id, async () => {
          this.#applied.delete(before.id);
          await this.#driver(before).rename(before, newName);
          const after = { ...before, name: newName };
          this.#applied.set(before.id, { network: after, content: contentOf(after) });
        });
        return done;
      },
      removeNetwork: async (message) => {
        const network = managed(message);
        await this.#turn.run(network.id, async () => {
          this.#applied.delete(network.id);
          await this.#driver(network).remove(network);
        });
        return done;
      },
      listInterfaces: () => Promise.resolve({ interfaces: hostInterfaces() }),
      networkState: async ({ id, name }) => {
        const link = id === 0 ? name : (this.#driver(this.#network(id)).interfaceOf(this.#network(id)) ?? '');
        if (link === '') throw fault.notFound(`Network interface "${name}" not found`);
        return { state: await interfaceState(link) };
      },
      networkLeases: ({ id, project }) => {
        const network = this.#network(id);
        const driver = this.#driver(network);
        return Promise.resolve({ leases: givesAddresses(driver) ? driver.leases(network, project) : [] });
      },
    };
  }
}

const aboutNetwork = ({ project, name }: ManagedNetwork): About => ({ project, entityUrl: apiUrl(['networks', name], project) });

const contentOf = ({ name, config }: ManagedNetwork): string => JSON.stringify([name, Object.entries(config).sort()]);

const managed = ({ id, project, name, type, config }: NetworkMessage): ManagedNetwork => ({ id, project, name, type, config: { ...config } });
