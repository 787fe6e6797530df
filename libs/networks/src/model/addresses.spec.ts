import { describe, expect, it } from 'vitest';
import { contains, eui64, formatAddress, formatSubnet, nthAddress, overlap, parseAddress, parseRange, parseSubnet } from './addresses.js';

describe('addresses', () => {
  it('reads and writes both families', () => {
    expect(formatAddress(parseAddress('10.0.0.1')!)).toBe('10.0.0.1');
    expect(formatAddress(parseAddress('FD42:0:0:0::1')!)).toBe('fd42::1');
    for (const bad of ['', '10.0.1', '010.0.0.1', '1.2.3.256', 'fe80::1%eth0', 'x', '::1/64']) expect(parseAddress(bad)).toBeUndefined();
  });
  it('counts from both ends of a subnet', () => {
    const subnet = parseSubnet('10.77.3.1/24')!;
    expect(formatSubnet(subnet)).toBe('10.77.3.0/24');
    expect(formatAddress(nthAddress(subnet, 2))).toBe('10.77.3.2');
    expect(formatAddress(nthAddress(subnet, -2))).toBe('10.77.3.254');
    expect(formatAddress(nthAddress(parseSubnet('fd42:1::1/64')!, -1))).toBe('fd42:1::ffff:ffff:ffff:ffff');
  });
  it('tells what lies inside what', () => {
    const subnet = parseSubnet('10.0.0.0/16')!;
    expect(contains(subnet, parseAddress('10.0.255.1')!)).toBe(true);
    expect(contains(subnet, parseAddress('10.1.0.1')!)).toBe(false);
    expect(contains(subnet, parseAddress('::a00:1')!)).toBe(false);
    expect(overlap(subnet, parseSubnet('10.0.9.1/24')!)).toBe(true);
    expect(overlap(parseSubnet('10.0.9.1/24')!, parseSubnet('10.0.8.1/24')!)).toBe(false);
  });
  it('makes the address that a client gives itself from its MAC', () => {
    expect(formatAddress(eui64(parseSubnet('fd42:1:2:3::1/64')!, '00:16:3e:2c:00:f6'))).toBe('fd42:1:2:3:216:3eff:fe2c:f6');
  });
  it('refuses ranges that run backwards or mix families', () => {
    expect(parseRange('10.0.0.9-10.0.0.2')).toBeUndefined();
    expect(parseRange('10.0.0.1-::1')).toBeUndefined();
    expect(parseRange('10.0.0.1-10.0.0.2')).toBeDefined();
  });
});
