import { defineKeys, type KeyDefinition, type Keys } from '#config-keys';
import { fault } from '#kit';
import { checks } from '#networks/model';

type Definitions = Record<string, KeyDefinition>;

const key = (since: string, short: string, more: Partial<Omit<KeyDefinition, 'doc' | 'since'>> = {}): KeyDefinition => ({
  type: 'string',
  since,
  whileInUse: 'next-start',
  ...more,
  doc: { short },
});
/** Can be changed while the instance runs, without taking the device out. */
const live = { whileInUse: 'at-once' } as const;

const refuse = (message: string): never => {
  throw fault.invalid(message);
};
const number32 = (what: string) => (value: string) => void ((/^\d{1,10}$/.test(value) && Number(value) < 2 ** 32) || refuse(what));
const deviceNumber = number32('Invalid value for a UNIX device number');
const unixId = number32('Invalid value for a UNIX ID');
const octalMode = (value: string): void => void (/^[0-7]{1,11}$/.test(value) || refuse('Invalid value for an octal file mode'));
const bootPriority = key('virtual-machines', 'Order of booting from it, for virtual machines', { check: number32('Invalid value for uint32') });
const user = key('core', 'Free for clients');

const bitRate = (value: string): void => {
  if (!/^\d{1,15} ?([kMGTPE]i?bit|bit)?$/.test(value)) refuse(`Invalid value: ${value}`);
};
const vlanRange = (value: string): void => {
  const ends = value.split('-');
  if (ends.length > 2) refuse(`Invalid VLAN range input: ${value}`);
  for (const end of ends) checks.vlan(end);
};

const nicCommon: Definitions = {
  nictype: key('core', 'What kind of nic'),
  name: key('core', 'Name of the interface inside the instance', { check: checks.interfaceName }),
  'boot.priority': bootPriority,
  'user.*': user,
};
const mac: Definitions = { hwaddr: key('core', 'MAC address', { check: checks.mac }) };
const mtu: Definitions = { mtu: key('core', 'MTU', { check: checks.mtu }) };
const parent: Definitions = {
  network: key('instance_nic_network', 'Managed network to plug into', { check: checks.interfaceName }),
  parent: key('core', 'Interface of the host', { check: checks.interfaceName }),
};
const maas: Definitions = {
  'maas.subnet.ipv4': key('maas_network', 'Kept for clients that set it', { check: checks.oneLine }),
  'maas.subnet.ipv6': key('maas_network', 'Kept for clients that set it', { check: checks.oneLine }),
};
const vethNic: Definitions = {
  host_name: key('core', 'Name of the interface on the host', { check: checks.interfaceName }),
  'limits.ingress': key('core', 'Bits a second into the instance', { ...live, check: bitRate }),
  'limits.egress': key('core', 'Bits a second out of the instance', { ...live, check: bitRate }),
  'limits.max': key('core', 'The same as both', { ...live, check: bitRate }),
  'ipv4.routes': key('container_nic_routes', 'IPv4 networks to route to the nic', { ...live, check: checks.listOf(checks.networkOf(4)) }),
  'ipv6.routes': key('container_nic_routes', 'IPv6 networks to route to the nic', { ...live, check: checks.listOf(checks.networkOf(6)) }),
};

export const nicKeys = {
  bridged: defineKeys('device-nic-bridged', nicCommon, mac, mtu, parent, maas, vethNic, {
    'ipv4.address': key('network', 'Address that DHCP gives it', { ...live, check: checks.orWords(['none'], checks.addressOf(4)) }),
    'ipv6.address': key('network', 'Address that DHCP gives it', { ...live, check: checks.orWords(['none'], checks.addressOf(6)) }),
    'ipv4.routes.external': key('network_ovn_external_subnets', 'As ipv4.routes', { ...live, check: checks.listOf(checks.networkOf(4)) }),
    'ipv6.routes.external': key('network_ovn_external_subnets', 'As ipv6.routes', { ...live, check: checks.listOf(checks.networkOf(6)) }),
    'security.mac_filtering': key('network', 'No other source MAC address than its own', { ...live, type: 'bool' }),
    'security.ipv4_filtering': key('container_nic_ipfilter', 'No other source IPv4 address than its own', { ...live, type: 'bool' }),
    'security.ipv6_filtering': key('container_nic_ipfilter', 'No other source IPv6 address than its own', { ...live, type: 'bool' }),
    'security.port_isolation': key('instance_nic_bridged_port_isolation', 'No talk with other isolated nics of the bridge', { type: 'bool' }),
    vlan: key('instance_nic_bridged_vlan', 'VLAN of its untagged traffic', { check: checks.orWords(['none'], checks.vlan) }),
    'vlan.tagged': key('instance_nic_bridged_vlan', 'VLANs that it sees tagged', { check: checks.listOf(vlanRange) }),
  }),
  p2p: defineKeys('device-nic-p2p', nicCommon, mac, mtu, vethNic),
  macvlan: defineKeys('device-nic-macvlan', nicCommon, mac, mtu, parent, maas, {
    vlan: key('network_vlan', 'VLAN of the parent to attach to', { check: checks.vlan }),
    gvrp: key('network_gvrp', 'Registers the VLAN by GVRP', { type: 'bool' }),
  }),
  physical: defineKeys('device-nic-physical', nicCommon, mac, mtu, parent, maas, {
    vlan: key('network_vlan_physical', 'VLAN of the parent to give', { check: checks.vlan }),
    gvrp: key('network_gvrp', 'Registers the VLAN by GVRP', { type: 'bool' }),
  }),
} satisfies Record<string, Keys>;
export type NicType = keyof typeof nicKeys;

const unix: Definitions = {
  source: key('unix_device_rename', 'Device node on the host', { check: devicePath }),
  path: key('core', 'Device node inside the instance', { check: checks.oneLine }),
  major: key('core', 'Major number', { check: deviceNumber }),
  minor: key('core', 'Minor number', { check: deviceNumber }),
  uid: key('core', 'Owner', { check: unixId, default: '0' }),
  gid: key('core', 'Group', { check: unixId, default: '0' }),
  mode: key('core', 'Mode, octal', { check: octalMode, default: '0660' }),
  required: key('unix_device_hotplug', 'Whether the instance needs it to start', { type: 'bool', default: 'true' }),
  'user.*': user,
};
const unixOwner: Definitions = { uid: unix['uid']!, gid: unix['gid']!, mode: unix['mode']!, 'user.*': user };

/** Below /dev, or a folder of that name elsewhere (LXD_DEVMONITOR_DIR of the tests); whether it is a device node, the host looks. */
function devicePath(value: string): void {
  const folders = value.split('/');
  if (!value.startsWith('/') || !folders.slice(0, -1).includes('dev') || folders.includes('..')) refuse('The path must start with "/dev/"');
}

const usbId = (value: string): void => void (/^[0-9a-f]{4}$/i.test(value) || refuse('Invalid value, must be four hexadecimal digits'));
const propagations = ['private', 'shared', 'slave', 'unbindable', 'rprivate', 'rshared', 'rslave', 'runbindable'];

export const deviceKeys = {
  none: defineKeys('device-none', { 'user.*': user }),
  disk: defineKeys('device-disk', {
    path: key('core', 'Where it appears inside the instance', { check: checks.oneLine }),
    source: key('core', 'Path of the host, or volume of the pool', { check: checks.oneLine }),
    pool: key('storage', 'Storage pool of the volume'),
    readonly: key('core', 'Whether it can only be read', { type: 'bool' }),
    recursive: key('core', 'Whether mounts below the source come along', { type: 'bool' }),
    required: key('unix_device_hotplug', 'Whether the instance needs it to start', { type: 'bool', default: 'true' }),
    optional: key('core', 'The opposite of required', { type: 'bool' }),
    shift: key('container_disk_shift', 'Whether owners are mapped as the instance’s are', { type: 'bool' }),
    size: key('core', 'Quota of the root disk', { ...live, type: 'size' }),
    'size.state': key('virtual-machines', 'Quota of the part of the root disk that holds state', { ...live, type: 'size' }),
    'limits.read': key('core', 'Bytes a second or iops', { ...live, check: diskLimit }),
    'limits.write': key('core', 'Bytes a second or iops', { ...live, check: diskLimit }),
    'limits.max': key('core', 'The same as both', { ...live, check: diskLimit }),
    propagation: key('core', 'How mounts made below it spread', {
      check: (value) => void (propagations.includes(value) || refuse(`Invalid propagation value. Must be one of: ${propagations.join(', ')}`)),
    }),
    'raw.mount.options': key('container_raw_mount', 'Options for mounting a block device', { check: checks.oneLine }),
    'ceph.cluster_name': key('storage_driver_ceph', 'Ceph cluster'),
    'ceph.user_name': key('container_disk_ceph', 'Ceph user'),
    'boot.priority': bootPriority,
    'user.*': user,
  }),
  'unix-char': defineKeys('device-unix-char', unix),
  'unix-block': defineKeys('device-unix-block', unix),
  'unix-hotplug': defineKeys('device-unix-hotplug', unixOwner, {
    vendorid: key('unix_hotplug_devices', 'Vendor of the device', { check: usbId }),
    productid: key('unix_hotplug_devices', 'Product of the device', { check: usbId }),
    required: key('unix_hotplug_devices', 'Whether the instance needs it to start', { type: 'bool', default: 'false' }),
  }),
  proxy: defineKeys('device-proxy', {
    listen: key('proxy', 'Address to listen on'),
    connect: key('proxy', 'Address to connect to'),
    bind: key('proxy', 'Which side listens', { default: 'host', check: proxySide }),
    mode: key('proxy_unix_dac_properties', 'Mode of a unix socket', { check: octalMode, default: '0644' }),
    uid: key('proxy_unix_dac_properties', 'Owner of a unix socket', { check: unixId }),
    gid: key('proxy_unix_dac_properties', 'Group of a unix socket', { check: unixId }),
    'security.uid': key('unix_priv_drop', 'User that the proxy becomes', { check: unixId }),
    'security.gid': key('unix_priv_drop', 'Group that the proxy becomes', { check: unixId }),
    nat: key('proxy_nat', 'By NAT instead of a process', { type: 'bool' }),
    proxy_protocol: key('proxy_haproxy_protocol', 'Tells the server of the client’s address', { type: 'bool' }),
    'user.*': user,
  }),
} satisfies Record<string, Keys>;

function proxySide(value: string): void {
  if (!['host', 'instance', 'guest', 'container'].includes(value)) refuse('Invalid binding side given. Must be "host" or "instance"');
}

function diskLimit(value: string): void {
  if (!/^\d+ ?(iops|B|[kKMGTPE]B|[KMGTPE]iB)?$/.test(value)) refuse(`Invalid value: ${value}`);
}

/** Keys that a running instance takes without losing the device. */
export const liveKeysOf = (keys: Keys): string[] =>
  Object.entries(keys.definitions).flatMap(([name, { whileInUse }]) => (whileInUse === 'at-once' ? [name] : []));
