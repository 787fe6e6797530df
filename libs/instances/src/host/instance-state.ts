import type { InstanceNetworkState, InstanceState } from '#api-contract';
import { listLinks, type Link } from '#host-kit';
import { isRootDisk, isRunning, statusOf } from '../model/index.js';
import { rootVolume, type InstanceRecord } from '../state/index.js';
import type { Power } from './driver.js';
import type { InstanceTools } from './tools.js';

/** A list asks for many at once, and one after the other for the same: no container is looked into more often than this. */
const networkFreshMs = 1_000;
/** How many programs look into containers at a time. */
const networkAtOnce = 8;

/** What instances of this member do and use just now. */
export class InstanceStates {
  readonly #networks = new Map<number, { at: number; state: Promise<Record<string, InstanceNetworkState>> }>();
  readonly #waiting: (() => void)[] = [];
  #looking = 0;

  constructor(private readonly tools: InstanceTools) {}

  async of(record: InstanceRecord): Promise<InstanceState> {
    const driver = this.tools.driver(record);
    const key = this.tools.paths.key(record);
    const power = await driver.power(key);
    const runs = isRunning(power.state);
    const [usage, network, disk] = await Promise.all([
      runs ? driver.usage(key) : undefined,
      runs ? this.network(record, power) : null,
      this.#disk(record),
    ]);
    return {
      ...statusOf(power.state),
      disk,
      memory: {
        usage: usage?.memoryBytes ?? 0,
        usage_peak: usage?.memoryPeakBytes ?? 0,
        swap_usage: usage?.swapBytes ?? 0,
        swap_usage_peak: usage?.swapPeakBytes ?? 0,
      },
      network,
      pid: power.pid,
      processes: usage?.processes ?? 0,
      cpu: { usage: usage?.cpuNs ?? 0 },
    };
  }

  async #disk(record: InstanceRecord): Promise<InstanceState['disk']> {
    const root = Object.entries(record.expandedDevices).find(([, device]) => isRootDisk(device));
    if (!root) return {};
    const usage = await this.tools.ports.storage.usage(rootVolume(record)).catch((error: unknown) => {
      this.tools.log.debug({ err: error, instance: record.name }, 'could not tell the disk usage of an instance');
      return undefined;
    });
    return usage === undefined ? {} : { [root[0]]: { usage } };
  }

  /** Its interfaces, looked at not more than once a second. */
  network(record: InstanceRecord, power: Power): Promise<Record<string, InstanceNetworkState>> {
    const known = this.#networks.get(power.pid);
    const now = this.tools.context.clock.monotonicMs();
    if (known && now - known.at < networkFreshMs) return known.state;
    for (const [pid, { at }] of this.#networks) if (now - at >= networkFreshMs) this.#networks.delete(pid);
    const state = this.#look(record, power.pid);
    this.#networks.set(power.pid, { at: now, state });
    return state;
  }

  async #look(record: InstanceRecord, pid: number): Promise<Record<string, InstanceNetworkState>> {
    if (this.#looking >= networkAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#looking++;
    try {
      const links = await listLinks({ pid });
      return Object.fromEntries(links.map((link) => [link.name, networkState(link, hostName(record, link.name))]));
    } catch (error) {
      // It may have ended meanwhile.
      this.tools.log.debug({ err: error, instance: record.name }, 'could not look into the network of an instance');
      return {};
    } finally {
      this.#looking--;
      this.#waiting.shift()?.();
    }
  }
}

/** The host's end of a nic, by the name that it has inside. */
function hostName({ expandedConfig, expandedDevices }: InstanceRecord, inside: string): string {
  for (const [name, device] of Object.entries(expandedDevices)) {
    if (device.type !== 'nic') continue;
    if ((device.name || expandedConfig[`volatile.${name}.name`] || name) === inside)
      return device.host_name || (expandedConfig[`volatile.${name}.host_name`] ?? '');
  }
  return '';
}

function networkState(link: Link, host: string): InstanceNetworkState {
  const { counters } = link;
  return {
    addresses: link.addresses.map(({ family, address, prefixLength, scope }) => ({
      family,
      address,
      netmask: String(prefixLength),
      // LXD's words: what is only for the host itself is local.
      scope: scope === 'host' ? 'local' : scope,
    })),
    counters: {
      bytes_received: counters.bytesReceived,
      bytes_sent: counters.bytesSent,
      packets_received: counters.packetsReceived,
      packets_sent: counters.packetsSent,
      errors_received: counters.errorsReceived,
      errors_sent: counters.errorsSent,
      packets_dropped_outbound: counters.packetsDroppedOutbound,
      packets_dropped_inbound: counters.packetsDroppedInbound,
    },
    hwaddr: link.type === 'loopback' ? '' : link.mac,
    host_name: host,
    mtu: link.mtu,
    state: link.flags.includes('UP') ? 'up' : 'down',
    type: link.flags.includes('LOOPBACK')
      ? 'loopback'
      : link.flags.includes('POINTOPOINT')
        ? 'point-to-point'
        : link.flags.includes('BROADCAST')
          ? 'broadcast'
          : 'unknown',
  };
}
