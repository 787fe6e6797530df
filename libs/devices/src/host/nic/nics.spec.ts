import { describe, expect, it } from 'vitest';
import type { DeviceOwner } from '../device-driver.js';
import { completeNic } from './complete.js';
import { encodePath, fstabWord, relativePath } from '../disk/encode.js';
import { throttleOf } from '../disk/limits.js';
import { nodeSpec, deviceRule } from '../unix/node.js';
import { allowedSources, filterRules, isFiltered } from './filters.js';
import { nicLabel, randomLinkName, randomMac } from './names.js';
import { routesOf } from './routes.js';
import { nicIndex, physicalLines } from './veth.js';

describe('filters', () => {
  const device = { 'security.ipv4_filtering': 'true', 'security.ipv6_filtering': 'true', 'ipv4.routes': '10.9.0.0/24' };
  it('allow the given address and the routes, and DHCP to the host', () => {
    const allowed = allowedSources(device, { ipv4: '10.0.0.9', ipv6: 'fd42::9' });
    expect(allowed).toEqual({ ipv4: ['10.0.0.9/32', '10.9.0.0/24'], ipv6: ['fd42::9/128'] });
    const { input, forward } = filterRules('veth1', '00:16:3e:00:00:01', allowed);
    expect(input).toContain('iifname "veth1" ether type arp arp saddr ip 10.0.0.9/32 accept');
    expect(input.join()).toContain('udp dport 67 accept');
    expect(forward.join()).not.toContain('udp dport 67');
    expect(input).toContain('iifname "veth1" ether type ip6 icmpv6 type 136 @nh,384,128 0xfd420000000000000000000000000009 accept');
    expect(forward.at(-1)).toBe('iifname "veth1" ether type != { arp, ip, ip6 } drop');
  });
  it('let nothing of a family through that has no address, and everything of one that is not filtered', () => {
    expect(allowedSources({ ...device, 'ipv4.address': 'none', 'security.ipv6_filtering': 'false' }, {})).toEqual({
      ipv4: ['10.9.0.0/24'].slice(1),
      ipv6: undefined,
    });
    const { input } = filterRules('veth1', '00:16:3e:00:00:01', {});
    expect(input).toHaveLength(3);
    expect(isFiltered({ 'security.mac_filtering': 'true' })).toBe(true);
    expect(isFiltered({ 'security.mac_filtering': 'false' })).toBe(false);
  });
});

it('numbers the nics of an instance the same at every start', () => {
  const devices = { b: { type: 'nic' }, root: { type: 'disk' }, a: { type: 'nic' } };
  expect([nicIndex({ devices }, 'a'), nicIndex({ devices }, 'b')]).toEqual([0, 1]);
  expect(physicalLines(1, 'veth0', 'eth1')).toContainEqual(['lxc.net.1.link', 'veth0']);
});

it('makes names that the kernel, DHCP clients and nftables take', () => {
  expect(randomLinkName('veth')).toMatch(/^veth[0-9a-f]{8}$/);
  expect(randomMac()).toMatch(/^00:16:3e(:[0-9a-f]{2}){3}$/);
  expect(nicLabel({ id: 7 }, 'eth/0:x')).toMatch(/^i7\.[0-9a-f]{12}$/);
});

it('writes paths as LXC and LXD read them', () => {
  expect(fstabWord('/a b\\c#d')).toBe('/a\\040b\\134c\\043d');
  expect(encodePath('unix.tty-0.dev/ttyS0')).toBe('unix.tty--0.dev-ttyS0');
  expect(relativePath('//a//b/')).toBe('a/b');
});

it('reads limits, routes and nodes', () => {
  expect(throttleOf({ 'limits.read': '10MB', 'limits.write': '100iops' })).toEqual({ readBytes: 1e7, writeBytes: 0, readOps: 0, writeOps: 100 });
  expect(routesOf({ 'ipv4.routes': '10.0.0.0/24, 10.1.0.0/24', 'ipv6.routes.external': 'fd42::/64' })).toHaveLength(3);
  const idmap = [{ isUid: true, isGid: true, hostId: 1000, nsId: 0, range: 10 }];
  const spec = nodeSpec({ uid: '5', gid: '99' }, { type: 'char', major: 10, minor: 232 }, '/dev/kvm', idmap);
  expect(spec).toMatchObject({ target: 'dev/kvm', mode: 0o660, owner: { uid: 1005, gid: 99 } });
  expect(deviceRule(spec)).toBe('c 10:232 rwm');
});

it('gives a nic a host name only where the user says one: what is recorded is of a run before, or of the instance that a backup was made of', async () => {
  const owner = { config: { 'volatile.eth0.host_name': 'veth1234', 'volatile.eth0.name': 'eth0' }, devices: {} } as unknown as DeviceOwner;
  expect(await completeNic(owner, 'eth0', { type: 'nic', nictype: 'p2p' }, { mac: false })).not.toHaveProperty('host_name');
  expect(await completeNic(owner, 'eth0', { type: 'nic', nictype: 'p2p', host_name: 'mine' }, { mac: false })).toMatchObject({ host_name: 'mine' });
});
