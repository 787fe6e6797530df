import type { DevicesMap } from '#api-contract';
import { isTrue, type Keys } from '#config-keys';
import { fault, Fault } from '#kit';
import type { ConfigMap } from '#api-contract';
import { checkStaticAddress, dhcpSubnet } from '#networks/model';
import { deviceKeys, nicKeys, type NicType } from './device-keys.js';

type Device = Record<string, string>;

/** What devices are checked against. */
export interface DeviceSurroundings {
  /** A managed network as nics of the project may name it: in its project, or the default one. Undefined: there is none. */
  network(name: string): { type: string; config: ConfigMap } | undefined;
  /** 'any' for profiles. */
  instanceType: 'container' | 'virtual-machine' | 'any';
  /** For the sentence about a missing network. */
  project: string;
  /** Whether the storage pool exists; left out where that is checked elsewhere. */
  poolExists?(name: string): boolean;
}

/**
 * Checks devices of a profile (`instanceType` 'any') or the expanded devices of an instance.
 * @throws Fault invalid: `Device validation failed for "eth0": …`, in the words of LXD; the caller puts its own before it ("Invalid devices: ")
 */
export function validateDevices(devices: DevicesMap, around: DeviceSurroundings): void {
  for (const name of Object.keys(devices).sort()) {
    try {
      validateDevice(name, devices, around);
    } catch (error) {
      const { message, kind } = Fault.from(error);
      if (kind === 'internal') throw error;
      throw fault.invalid(`Device validation failed for "${name}": ${message}`, { cause: error });
    }
  }
}

function validateDevice(name: string, devices: DevicesMap, around: DeviceSurroundings): void {
  checkDeviceName(name);
  const device = devices[name]!;
  const loading = (message: string): Fault => fault.invalid(`Failed loading device "${name}": ${message}`);
  if (!device.type) throw loading('Missing device type in config');
  if (device.type === 'nic') {
    if (device.network && !around.network(device.network))
      throw loading(`Failed to load network "${device.network}" for project "${around.project}": Network not found`);
    const type = nicTypeOf(device, around);
    if (!type) throw loading('Unsupported device type');
    validateNic(device, type, devices, around);
    return;
  }
  const keys = (deviceKeys as Record<string, Keys>)[device.type];
  if (!keys || (around.instanceType === 'virtual-machine' && device.type.startsWith('unix-'))) throw loading('Unsupported device type');
  checkKeys(device, keys);
  if (device.type === 'disk') validateDisk(device, devices, around);
  if ((device.type === 'unix-char' || device.type === 'unix-block') && !device.source && !device.path)
    throw fault.invalid('Unix device entry is missing the required "source" or "path" property');
  if ((device.type === 'unix-char' || device.type === 'unix-block') && !device.major !== !device.minor)
    throw fault.invalid('Both major and minor must be supplied for a device');
  if (device.type === 'unix-hotplug' && !device.vendorid && !device.productid)
    throw fault.invalid('Unix hotplug devices require a vendorid or a productid');
  if (device.type === 'proxy') {
    for (const side of ['listen', 'connect']) if (!device[side]) throw fault.invalid(`Invalid value for device option "${side}": Required value`);
  }
}

/** A device's name is a key of config and part of file names. @throws Fault invalid */
export function checkDeviceName(name: string): void {
  if (name.length < 1 || name.length > 63) throw fault.invalid('Name must be 1-63 characters long');
  if (name.startsWith('.')) throw fault.invalid('Name must not start with "." character');
  if (!/^[/.\-:_a-zA-Z0-9]+$/.test(name))
    throw fault.invalid('Name can only contain alphanumeric, forward slash, hyphen, colon, underscore and full stop characters');
}

/** Type of a managed network → of the nics on it. */
const nicTypes: Readonly<Record<string, NicType>> = { bridge: 'bridged', macvlan: 'macvlan' };

/** What kind of nic it is: told by its network, or by itself. Undefined for kinds that Muster has not. */
export function nicTypeOf(device: Device, around: Pick<DeviceSurroundings, 'network'>): NicType | undefined {
  if (!device.network) return device.nictype && device.nictype in nicKeys ? (device.nictype as NicType) : undefined;
  return nicTypes[around.network(device.network)?.type ?? ''];
}

function checkKeys(device: Device, keys: Keys): void {
  for (const [option, value] of Object.entries(device)) {
    if (option === 'type') continue;
    if (!keys.find(option)) throw fault.invalid(`Invalid device option "${option}"`);
    try {
      keys.validate({ [option]: value });
    } catch (error) {
      throw fault.invalid(`Invalid value for device option "${option}": ${Fault.from(error).message}`);
    }
  }
}

function validateNic(device: Device, type: NicType, devices: DevicesMap, around: DeviceSurroundings): void {
  if (device.network) {
    const banned =
      type === 'bridged' ? ['nictype', 'parent', 'mtu', 'maas.subnet.ipv4', 'maas.subnet.ipv6'] : ['nictype', 'parent', 'mtu', 'vlan', 'gvrp'];
    for (const option of banned) if (device[option]) throw fault.invalid(`Cannot use "${option}" property in conjunction with "network" property`);
  }
  checkKeys(device, nicKeys[type]);
  if (type !== 'p2p' && !device.network && !device.parent) throw fault.invalid('Invalid value for device option "parent": Required value');
  if (device.name && Object.values(devices).filter((other) => other.type === 'nic' && other.name === device.name).length > 1)
    throw fault.invalid(`Invalid value for device option "name": Duplicate NIC name detected "${device.name}"`);
  if (type === 'bridged') validateBridged(device, around);
}

function validateBridged(device: Device, around: DeviceSurroundings): void {
  const name = device.network || device.parent!;
  const managed = around.network(name);
  for (const family of [4, 6] as const) {
    const address = device[`ipv${family}.address`] ?? '';
    const filtered = isTrue(device[`security.ipv${family}_filtering`]);
    if (managed?.type === 'bridge') checkManaged(name, managed.config, family, address, filtered);
    else if (filtered && address === '')
      throw fault.invalid(`IPv${family} filtering requires a manually specified ipv${family}.address when using an unmanaged parent bridge`);
    else if (!filtered && address !== '')
      throw fault.invalid(`Cannot use manually specified ipv${family}.address when using unmanaged parent bridge`);
    if (filtered && (device.vlan || device['vlan.tagged'])) throw fault.invalid('IP filtering cannot be used with VLAN filtering');
  }
  if (managed && device.vlan === '0') throw fault.invalid('VLAN ID 0 is not allowed for native Linux bridges');
  for (const tagged of (device['vlan.tagged'] ?? '').split(',').filter(Boolean)) {
    if (tagged.trim() === device.vlan) throw fault.invalid(`Tagged VLAN ID "${tagged.trim()}" cannot be the same as untagged VLAN ID`);
  }
}

function checkManaged(name: string, config: ConfigMap, family: 4 | 6, address: string, filtered: boolean): void {
  if (address === '') return;
  const serves = dhcpSubnet(config, family) !== undefined && (family === 4 || isTrue(config['ipv6.dhcp.stateful']));
  if (!serves && !filtered) {
    const lack = family === 4 ? 'DHCP is disabled' : 'DHCP or "ipv6.dhcp.stateful" are disabled';
    throw fault.invalid(`Cannot specify "ipv${family}.address" when ${lack} (unless using security.ipv${family}_filtering) on network "${name}"`);
  }
  if (address === 'none') {
    if (!filtered) throw fault.invalid(`Cannot have ipv${family}.address as none unless using security.ipv${family}_filtering`);
    return;
  }
  checkStaticAddress(name, config, family, address);
}

function validateDisk(device: Device, devices: DevicesMap, around: DeviceSurroundings): void {
  const isRoot = device.path === '/';
  const source = device.source ?? '';
  const refuse = (message: string): never => {
    throw fault.invalid(message);
  };
  if (device.required && device.optional) refuse('Cannot use both "required" and deprecated "optional" properties at the same time');
  if (source === '' && !isRoot) refuse('Disk entry is missing the required "source" or "path" property');
  if (isRoot && source !== '') refuse('Root disk entry may not have a "source" property set');
  if (isRoot && !device.pool) refuse('Root disk entry must have a "pool" property set');
  if (!isRoot && !device.path && around.instanceType !== 'virtual-machine') refuse('Disk entry is missing the required "source" or "path" property');
  if (device.size && !isRoot) refuse('Only the root disk may have a size quota');
  if (device['size.state'] && !isRoot) refuse('Only the root disk may have a migration size quota');
  if (device.recursive && (isRoot || device.pool)) refuse('The recursive option is only supported for additional bind-mounted paths');
  if (isTrue(device.recursive) && isTrue(device.readonly)) refuse("Recursive read-only bind-mounts aren't currently supported by the kernel");
  if (/^ceph(fs)?:/.test(source)) refuse('Sources on Ceph are not supported');
  if (device['ceph.cluster_name'] || device['ceph.user_name']) refuse(`Invalid options ceph.cluster_name/ceph.user_name for source "${source}"`);
  const path = normalPath(device.path ?? '');
  if (path !== undefined && Object.values(devices).filter((other) => other.type === 'disk' && normalPath(other.path ?? '') === path).length > 1)
    refuse(`More than one disk device uses the same path "${device.path}"`);
  if (!device.pool && source !== '' && !source.startsWith('/')) refuse('Source path must be absolute for local sources');
  if (source.split('/').includes('..') || (device.path ?? '').split('/').includes('..')) refuse('Paths may not contain ".."');
  if (!device.pool || isRoot) {
    if (device.pool && around.poolExists?.(device.pool) === false) refuse(`Failed to get storage pool "${device.pool}": Storage pool not found`);
    return;
  }
  if (device.shift) refuse('The "shift" property cannot be used with custom storage volumes (set "security.shifted=true" on the volume instead)');
  if (source.startsWith('/')) refuse('Storage volumes cannot be specified as absolute paths');
  if (around.poolExists?.(device.pool) === false) refuse(`Failed to get storage pool "${device.pool}": Storage pool not found`);
}

/** `/a//b/` and `a/b` are one place. */
const normalPath = (path: string): string | undefined => (path === '' ? undefined : path.split('/').filter(Boolean).join('/'));
