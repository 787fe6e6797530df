import { describe, expect, it } from 'vitest';
import { validateNetwork, withNetworkDefaults } from './network-config.js';

describe('validateNetwork', () => {
  it('takes what LXD takes', () => {
    validateNetwork('bridge', 'br0', {
      'ipv4.address': '10.0.0.1/24',
      'ipv6.address': 'fd42::1/64',
      'ipv4.nat': 'true',
      'ipv4.dhcp.ranges': '10.0.0.10-10.0.0.20, 10.0.0.30-10.0.0.40',
      'ipv6.dhcp.stateful': 'yes',
      'bridge.mtu': '1400',
      'tunnel.t1.protocol': 'vxlan',
      'user.anything': 'x',
      'dns.domain': 'blah',
      'ipv4.dhcp': '',
    });
  });
  it.each([
    [{ 'nope.key': '1' }, 'Invalid option for network "br0" option "nope.key"'],
    [{ 'ipv4.address': 'x' }, 'Invalid value for network "br0" option "ipv4.address": Not an IPv4 address "x"'],
    [{ 'ipv4.address': '10.0.0.0/24' }, 'Not a usable IPv4 address "10.0.0.0/24"'],
    [{ 'ipv4.nat': 'perhaps' }, 'Invalid value for a boolean "perhaps"'],
    [{ 'bridge.hwaddr': '00:11' }, 'Invalid MAC address, must be 6 bytes of hex separated by colons'],
    [{ 'ipv4.address': '10.0.0.1/24', 'ipv4.dhcp.ranges': '10.1.0.2-10.1.0.3' }, 'does not fall within'],
    [{ 'dns.domain': 'a\n--conf-file=/etc/shadow' }, 'Invalid domain name'],
    [{ 'ipv4.dhcp.expiry': '1h,set:x' }, 'Invalid value'],
    [{ 'tunnel.waytoolongname.protocol': 'gre' }, 'Network name too long for tunnel interface'],
  ])('refuses %o', (config, words) => {
    expect(() => validateNetwork('bridge', 'br0', config)).toThrow(words);
  });
});

it('asks for automatic addresses with NAT where nothing is said', () => {
  expect(withNetworkDefaults('bridge', {}, { hasIpv6: true })).toEqual({
    'ipv4.address': 'auto',
    'ipv4.nat': 'true',
    'ipv6.address': 'auto',
    'ipv6.nat': 'true',
  });
  expect(withNetworkDefaults('bridge', { 'ipv4.address': '10.0.0.1/24', 'ipv6.address': 'none' }, { hasIpv6: true })).toEqual({
    'ipv4.address': '10.0.0.1/24',
    'ipv6.address': 'none',
  });
});

it('wants a parent for a macvlan network, and knows no other type', () => {
  validateNetwork('macvlan', 'mv', { parent: 'eth0', vlan: '5', 'user.x': 'y' });
  expect(() => validateNetwork('macvlan', 'mv', {})).toThrow('option "parent": Required value');
  expect(() => validateNetwork('macvlan', 'mv', { parent: 'eth0', 'ipv4.nat': 'true' })).toThrow('Invalid option for network "mv" option "ipv4.nat"');
  expect(() => validateNetwork('ovn', 'o', {})).toThrow('Network type "ovn" is not supported');
});
