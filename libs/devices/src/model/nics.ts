import type { ConfigMap, DevicesMap } from '#api-contract';
import { fault } from '#kit';
import { parseAddress, sameAddress } from '#networks/model';
import { nicTypeOf, type DeviceSurroundings } from './validate.js';

/**
 * The volatile keys that nics lack: a MAC address for those that are ours to make, and a name inside the instance. For the config of an instance before it
 * is submitted; the random part comes from the caller.
 * @returns the keys to add
 */
export function missingNicKeys(
  devices: DevicesMap,
  config: ConfigMap,
  around: Pick<DeviceSurroundings, 'network'>,
  randomMac: () => string,
): ConfigMap {
  const added: ConfigMap = {};
  const nics = Object.keys(devices)
    .filter((name) => devices[name]!.type === 'nic')
    .sort();
  const taken = namesTaken(devices, config);
  for (const name of nics) {
    const device = devices[name]!;
    const macKey = `volatile.${name}.hwaddr`;
    if (!device.hwaddr && !config[macKey] && nicTypeOf(device, around) !== 'physical') added[macKey] = randomMac();
    if (device.name || config[`volatile.${name}.name`]) continue;
    const free = freeName(taken);
    taken.add(free);
    added[`volatile.${name}.name`] = free;
  }
  return added;
}

function namesTaken(devices: DevicesMap, config: ConfigMap): Set<string> {
  const names = Object.entries(devices).flatMap(([name, device]) => [device.name, config[`volatile.${name}.name`]]);
  return new Set(names.filter((name): name is string => Boolean(name)));
}

function freeName(taken: ReadonlySet<string>): string {
  let number = 0;
  while (taken.has(`eth${number}`)) number++;
  return `eth${number}`;
}

/** A name inside the instance that none of its nics has. */
export const freeNicName = (devices: DevicesMap, config: ConfigMap): string => freeName(namesTaken(devices, config));

/** A nic with what its instance's volatile keys say filled in. */
export function effectiveNic(name: string, device: Readonly<Record<string, string>>, config: ConfigMap): Record<string, string> {
  const filled: Record<string, string> = { ...device };
  for (const key of ['name', 'hwaddr', 'host_name']) {
    const value = device[key] || config[`volatile.${name}.${key}`];
    if (value) filled[key] = value;
  }
  if (filled['hwaddr']) filled['hwaddr'] = filled['hwaddr'].toLowerCase();
  return filled;
}

/** One nic of an instance, as its neighbours on a network must know it. */
export interface NicOnNetwork {
  instance: { project: string; name: string; config: ConfigMap };
  deviceName: string;
  device: Readonly<Record<string, string>>;
}

/**
 * Whether a nic may join others on one bridge of one member: no MAC, static address or (where the network names its instances) DNS name twice.
 * @throws Fault conflict, with the words that LXD uses
 */
export function checkNicConflicts(mine: NicOnNetwork, others: readonly NicOnNetwork[], named: boolean): void {
  const me = effectiveNic(mine.deviceName, mine.device, mine.instance.config);
  for (const other of others) {
    const sameInstance = other.instance.project === mine.instance.project && other.instance.name === mine.instance.name;
    if (sameInstance && other.deviceName === mine.deviceName) continue;
    if ((other.device.vlan ?? '') !== (mine.device.vlan ?? '')) continue;
    const them = effectiveNic(other.deviceName, other.device, other.instance.config);
    if (named && dnsName(other.instance) === dnsName(mine.instance))
      throw fault.conflict(`Instance DNS name "${mine.instance.name.toLowerCase()}" already used on network`);
    if (me['hwaddr'] && me['hwaddr'] === them['hwaddr']) throw fault.conflict(`MAC address "${them['hwaddr']}" already defined on another NIC`);
    for (const key of ['ipv4.address', 'ipv6.address']) {
      const [a, b] = [me[key], them[key]].map((text) => parseAddress(text ?? ''));
      if (sameAddress(a, b)) throw fault.conflict(`IP address "${them[key]}" already defined on another NIC`);
    }
  }
}

/** Case does not count in DNS; instances of other projects have their project's name behind theirs. */
const dnsName = ({ project, name }: NicOnNetwork['instance']): string => `${name}.${project}`.toLowerCase();

/** An instance with its expanded config and devices. */
export interface InstanceDevices {
  project: string;
  name: string;
  config: ConfigMap;
  devices: DevicesMap;
}

/**
 * Whether an instance's bridged nics can live beside those of the other instances of its member, and beside each other. For commands that create or change
 * an instance by a user's will: `others` are all instances of the member but this one (copies and restores may conflict until they start).
 * @throws Fault conflict, with the words that LXD uses
 */
export function checkInstanceNics(mine: InstanceDevices, others: Iterable<InstanceDevices>, around: Pick<DeviceSurroundings, 'network'>): void {
  const networkOf = (device: Readonly<Record<string, string>>): string => device['network'] || device['parent'] || '';
  const nicsOf = (instance: InstanceDevices): NicOnNetwork[] =>
    Object.entries(instance.devices).flatMap(([deviceName, device]) =>
      nicTypeOf(device, around) === 'bridged' && device['type'] === 'nic' ? [{ instance, deviceName, device }] : [],
    );
  const own = nicsOf(mine);
  if (own.length === 0) return;
  const neighbours = [...others].flatMap(nicsOf).concat(own);
  for (const nic of own) {
    const name = networkOf(nic.device);
    const managed = around.network(name);
    const named = managed !== undefined && managed.config['dns.mode'] !== 'none';
    checkNicConflicts(
      nic,
      neighbours.filter(({ device }) => networkOf(device) === name),
      named,
    );
  }
}

/**
 * Volatile keys that no longer hold after a change of expanded devices: all of a device that is gone or of another kind, and those that the device now says
 * itself.
 */
export function staleVolatileKeys(before: DevicesMap, after: DevicesMap, config: ConfigMap, around: Pick<DeviceSurroundings, 'network'>): string[] {
  const kindOf = (device: Record<string, string> | undefined): string =>
    device ? `${device.type}/${device.type === 'nic' ? (nicTypeOf(device, around) ?? '') : ''}` : '';
  return Object.keys(before).flatMap((name) => {
    const prefix = `volatile.${name}.`;
    const now = after[name];
    const other = kindOf(before[name]) !== kindOf(now);
    return Object.keys(config).filter((key) => key.startsWith(prefix) && (other || Boolean(now?.[key.slice(prefix.length)])));
  });
}
