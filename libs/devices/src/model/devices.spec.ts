import { describe, expect, it } from 'vitest';
import type { DevicesMap } from '#api-contract';
import {
  checkInstanceNics,
  checkNicConflicts,
  missingNicKeys,
  staleVolatileKeys,
  nicKeys,
  liveKeysOf,
  validateDevices,
  type DeviceSurroundings,
} from './index.js';

const networks: Record<string, ReturnType<DeviceSurroundings['network']>> = {
  lxdbr0: { type: 'bridge', config: { 'ipv4.address': '10.0.0.1/24', 'ipv6.address': 'fd42::1/64' } },
  mv: { type: 'macvlan', config: { parent: 'eth0' } },
};
const around: DeviceSurroundings = {
  project: 'default',
  instanceType: 'container',
  network: (name) => networks[name],
  poolExists: (name) => name === 'default',
};
const check = (devices: DevicesMap): void => validateDevices(devices, around);

describe('validateDevices', () => {
  it('takes what LXD takes', () => {
    check({
      root: { type: 'disk', path: '/', pool: 'default', size: '10GiB' },
      data: { type: 'disk', path: 'mnt', source: '/srv', readonly: 'true', required: 'false', shift: 'true', 'user.x': 'y' },
      vol: { type: 'disk', path: '/v', source: 'vol', pool: 'default' },
      eth0: { type: 'nic', network: 'lxdbr0', 'ipv4.address': '10.0.0.9', 'limits.ingress': '10Mbit', hwaddr: '00:16:3E:00:00:01' },
      eth1: { type: 'nic', nictype: 'bridged', parent: 'br-x', name: 'e1', mtu: '1400', vlan: '5' },
      eth2: { type: 'nic', nictype: 'p2p', 'ipv4.routes': '10.9.0.0/24,10.10.0.1/32' },
      eth4: { type: 'nic', network: 'mv' },
      eth3: { type: 'nic', nictype: 'macvlan', parent: 'eth0', vlan: '7' },
      kvm: { type: 'unix-char', source: '/dev/kvm', mode: '0660', gid: '5' },
      tty: { type: 'unix-char', path: '/dev/foo', major: '10', minor: '232' },
      usb: { type: 'unix-hotplug', vendorid: '0951' },
      gone: { type: 'none' },
    });
  });

  it.each<[DevicesMap, string]>([
    [{ d1: { type: 'zorg' } }, 'Device validation failed for "d1": Failed loading device "d1": Unsupported device type'],
    [{ d1: {} }, 'Device validation failed for "d1": Failed loading device "d1": Missing device type in config'],
    [{ 'a b': { type: 'none' } }, 'Name can only contain alphanumeric'],
    [{ e: { type: 'nic', network: 'nope' } }, 'Failed loading device "e": Failed to load network "nope" for project "default": Network not found'],
    [{ e: { type: 'nic', network: 'mv', vlan: '5' } }, 'Cannot use "vlan" property in conjunction with "network" property'],
    [{ e: { type: 'nic', nictype: 'zorg' } }, 'Unsupported device type'],
    [{ e: { type: 'nic', network: 'lxdbr0', parent: 'x1' } }, 'Cannot use "parent" property in conjunction with "network" property'],
    [{ e: { type: 'nic', nictype: 'bridged' } }, 'Invalid value for device option "parent": Required value'],
    [{ e: { type: 'nic', network: 'lxdbr0', zorg: '1' } }, 'Invalid device option "zorg"'],
    [{ e: { type: 'nic', network: 'lxdbr0', hwaddr: 'x' } }, 'Invalid value for device option "hwaddr": Invalid MAC address'],
    [{ e: { type: 'nic', network: 'lxdbr0', host_name: 'a/b' } }, 'Invalid value for device option "host_name"'],
    [{ e: { type: 'nic', network: 'lxdbr0', 'ipv4.address': '10.1.0.9' } }, 'Device IP address "10.1.0.9" not within network "lxdbr0" subnet'],
    [{ e: { type: 'nic', network: 'lxdbr0', 'ipv4.address': '10.0.0.1' } }, 'is assigned to parent managed network device'],
    [{ e: { type: 'nic', network: 'lxdbr0', 'ipv6.address': 'fd42::9' } }, 'DHCP or "ipv6.dhcp.stateful" are disabled'],
    [{ e: { type: 'nic', network: 'lxdbr0', 'ipv4.address': 'none' } }, 'Cannot have ipv4.address as none unless using security.ipv4_filtering'],
    [{ e: { type: 'nic', nictype: 'bridged', parent: 'xx', 'ipv4.address': '10.0.0.9' } }, 'when using unmanaged parent bridge'],
    [{ a: { type: 'nic', nictype: 'p2p', name: 'eth0' }, b: { type: 'nic', nictype: 'p2p', name: 'eth0' } }, 'Duplicate NIC name detected "eth0"'],
    [{ d: { type: 'disk', path: '/x' } }, 'Disk entry is missing the required "source" or "path" property'],
    [{ d: { type: 'disk', path: '/x', source: 'a' } }, 'Source path must be absolute for local sources'],
    [{ d: { type: 'disk', path: '/', source: '/a', pool: 'default' } }, 'Root disk entry may not have a "source" property set'],
    [{ d: { type: 'disk', path: '/' } }, 'Root disk entry must have a "pool" property set'],
    [{ d: { type: 'disk', path: '/', pool: 'nope' } }, 'Failed to get storage pool "nope": Storage pool not found'],
    [{ d: { type: 'disk', path: '/x', source: '/a', size: '1GB' } }, 'Only the root disk may have a size quota'],
    [
      { d: { type: 'disk', path: '/x', source: 'a', pool: 'default', shift: 'true' } },
      'The "shift" property cannot be used with custom storage volumes',
    ],
    [
      { a: { type: 'disk', path: '/x', source: '/a' }, b: { type: 'disk', path: 'x/', source: '/b' } },
      'More than one disk device uses the same path',
    ],
    [{ d: { type: 'disk', path: '../x', source: '/a' } }, 'Paths may not contain ".."'],
    [{ d: { type: 'disk', path: '/x', source: '/a\n/b' } }, 'control characters'],
    [{ u: { type: 'unix-char' } }, 'Unix device entry is missing the required "source" or "path" property'],
    [{ u: { type: 'unix-char', source: '/etc/shadow' } }, 'The path must start with "/dev/"'],
    [{ u: { type: 'unix-block', path: '/dev/x', mode: '9' } }, 'Invalid value for an octal file mode'],
    [{ u: { type: 'unix-hotplug' } }, 'Unix hotplug devices require a vendorid or a productid'],
  ])('refuses %o', (devices, words) => {
    expect(() => check(devices)).toThrow(words);
  });
});

it('gives nics the MAC addresses and names that they lack', () => {
  let number = 0;
  const keys = missingNicKeys(
    {
      a: { type: 'nic', network: 'lxdbr0' },
      b: { type: 'nic', nictype: 'p2p', name: 'eth0', hwaddr: '00:16:3e:00:00:01' },
      c: { type: 'nic', nictype: 'physical', parent: 'eth9' },
      d: { type: 'disk', path: '/', pool: 'default' },
    },
    { 'volatile.c.name': 'eth1' },
    around,
    () => `mac${++number}`,
  );
  expect(keys).toEqual({ 'volatile.a.hwaddr': 'mac1', 'volatile.a.name': 'eth2' });
});

describe('checkNicConflicts', () => {
  const nic = (name: string, device: Record<string, string>, config = {}) => ({
    instance: { project: 'default', name, config },
    deviceName: 'eth0',
    device,
  });
  it('finds the MAC, the address and the name that is there already', () => {
    const others = [nic('c1', { 'ipv4.address': '10.0.0.9' }, { 'volatile.eth0.hwaddr': '00:16:3e:00:00:01' })];
    expect(() => checkNicConflicts(nic('c2', { hwaddr: '00:16:3E:00:00:01' }), others, true)).toThrow(
      'MAC address "00:16:3e:00:00:01" already defined',
    );
    expect(() => checkNicConflicts(nic('c2', { 'ipv4.address': '10.0.0.9' }), others, true)).toThrow(
      'IP address "10.0.0.9" already defined on another NIC',
    );
    expect(() => checkNicConflicts({ ...nic('C1', {}), deviceName: 'eth1' }, others, true)).toThrow('DNS name "c1" already used on network');
    checkNicConflicts(nic('c1', { 'ipv4.address': '10.0.0.9' }), others, true);
    checkNicConflicts(nic('c2', { 'ipv4.address': '10.0.0.8' }), others, true);
  });
});

it('knows which keys of a bridged nic change in place', () => {
  expect(liveKeysOf(nicKeys.bridged)).toContain('limits.max');
  expect(liveKeysOf(nicKeys.bridged)).not.toContain('mtu');
});

describe('checkInstanceNics', () => {
  const instance = (name: string, devices: DevicesMap, config = {}) => ({ project: 'default', name, config, devices });
  const nic = (more = {}) => ({ type: 'nic', network: 'lxdbr0', ...more });
  it('looks at nics of the same network only, the instance’s own included', () => {
    expect(() => checkInstanceNics(instance('c1', { eth0: nic(), eth1: nic() }), [], around)).toThrow(
      'Instance DNS name "c1" already used on network',
    );
    checkInstanceNics(instance('c1', { eth0: nic(), eth1: nic({ vlan: '1' }) }), [], around);
    checkInstanceNics(
      instance('c1', { eth0: nic(), eth1: { type: 'nic', nictype: 'p2p' }, eth2: { type: 'nic', nictype: 'bridged', parent: 'br9' } }),
      [],
      around,
    );
    const others = [instance('c2', { eth0: { type: 'nic', nictype: 'bridged', parent: 'lxdbr0', 'ipv4.address': '10.0.0.9' } })];
    expect(() => checkInstanceNics(instance('c1', { eth0: nic({ 'ipv4.address': '10.0.0.9' }) }), others, around)).toThrow(
      'already defined on another NIC',
    );
    checkInstanceNics(instance('c1', { root: { type: 'disk', path: '/', pool: 'p' } }), others, around);
  });
});

it('knows which volatile keys a change of devices makes stale', () => {
  const config = {
    'volatile.eth0.hwaddr': 'm',
    'volatile.eth0.name': 'eth0',
    'volatile.eth1.hwaddr': 'n',
    'volatile.uuid': 'u',
    'volatile.eth0x.hwaddr': 'o',
  };
  const p2p = { type: 'nic', nictype: 'p2p' };
  const stale = (before: DevicesMap, after: DevicesMap): string[] => staleVolatileKeys(before, after, config, around);
  expect(stale({ eth0: p2p, eth1: p2p }, { eth0: { type: 'nic', nictype: 'physical', parent: 'e' }, eth1: p2p })).toEqual([
    'volatile.eth0.hwaddr',
    'volatile.eth0.name',
  ]);
  expect(stale({ eth0: p2p }, { eth0: { ...p2p, hwaddr: 'x' } })).toEqual(['volatile.eth0.hwaddr']);
  expect(stale({ eth1: p2p }, {})).toEqual(['volatile.eth1.hwaddr']);
  expect(stale({ eth0: p2p }, { eth0: p2p })).toEqual([]);
});
