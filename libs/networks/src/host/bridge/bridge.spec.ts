import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { networkRules } from '../firewall.js';
import { releasePacket } from './dhcp-release.js';
import { dnsmasqArguments } from './dnsmasq.arguments.js';
import { leaseRows, parseLeases } from './leases.js';
import { StaticHosts } from './static-hosts.js';

const place = { link: 'br0', dir: '/s/networks/br0', mtu: '1500', user: 'nobody', group: 'nogroup', verbose: false };

describe('dnsmasqArguments', () => {
  it('serve DHCP and DNS on the bridge only', () => {
    const words = dnsmasqArguments({ 'ipv4.address': '10.0.0.1/24' }, place);
    expect(words).toEqual(
      expect.arrayContaining(['--bind-interfaces', '--interface=br0', '--listen-address=10.0.0.1', '--dhcp-range', '10.0.0.2,10.0.0.254,1h']),
    );
    expect(words).toEqual(expect.arrayContaining(['-s', 'lxd', '-S', '/lxd/', '-u', 'nobody']));
    expect(words.join(' ')).not.toContain('enable-ra');
  });
  it('follow the keys', () => {
    const words = dnsmasqArguments(
      {
        'ipv4.address': '10.0.0.1/24',
        'ipv4.dhcp.ranges': '10.0.0.10-10.0.0.20, 10.0.0.30-10.0.0.40',
        'ipv4.dhcp.expiry': '2h',
        'ipv4.dhcp.gateway': '10.0.0.9',
        'dns.search': 'a.example, b.example',
        'dns.mode': 'none',
        'ipv6.address': 'fd42::1/64',
        'ipv6.dhcp.stateful': 'true',
      },
      { ...place, mtu: '1400' },
    );
    for (const word of ['10.0.0.10,10.0.0.20,2h', '10.0.0.30,10.0.0.40,2h', 'fd42::2,fd42::ffff:ffff:ffff:ffff,64,1h']) expect(words).toContain(word);
    for (const word of ['3,10.0.0.9', '26,1400', '119,a.example,b.example']) expect(words).toContain(`--dhcp-option-force=${word}`);
    expect(words).not.toContain('-s');
  });
  it('announce, and give nothing, where DHCP is off', () => {
    const words = dnsmasqArguments(
      { 'ipv4.address': '10.0.0.1/24', 'ipv4.dhcp': 'false', 'ipv6.address': 'fd42::1/64', 'ipv6.dhcp': 'false' },
      place,
    );
    expect(words.join(' ')).not.toContain('leasefile');
    expect(words).toContain('::,constructor:br0,ra-only');
  });
});

describe('networkRules', () => {
  it('translate, accept and serve where the keys say so', () => {
    const text = networkRules('t', 'br0', { 'ipv4.address': '10.0.0.1/24', 'ipv4.nat': 'true', 'ipv6.address': 'none' }).join('\n');
    expect(text).toContain('add rule inet t pstrt.br0 ip saddr 10.0.0.0/24 ip daddr != 10.0.0.0/24 masquerade');
    expect(text).toContain('oifname "br0" accept');
    expect(text).toContain('udp dport 67 accept');
    expect(text).not.toContain('ip6');
  });
  it('say nothing without addresses, reject without routing, use the given source address', () => {
    expect(networkRules('t', 'br0', { 'ipv4.address': 'none' })).toEqual([]);
    const text = networkRules('t', 'br0', {
      'ipv4.address': '10.0.0.1/24',
      'ipv4.routing': 'false',
      'ipv4.nat': 'true',
      'ipv4.nat.address': '192.0.2.9',
      'ipv4.nat.order': 'after',
    }).join('\n');
    expect(text).toContain('iifname "br0" reject');
    expect(text).toContain('snat ip to 192.0.2.9');
    expect(text).toContain('priority 110');
    expect(networkRules('t', 'br0', { 'ipv4.address': '10.0.0.1/24', 'ipv4.firewall': 'false' })).toEqual([]);
  });
});

describe('StaticHosts', () => {
  let dir: string;
  beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'muster-hosts-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it('keep what was promised in LXD’s files', () => {
    const hosts = new StaticHosts(dir);
    const host = { project: 'p_q', instance: 'c1', device: 'eth/0-a', hwaddr: '00:16:3E:00:00:01', ipv4: '10.0.0.9', ipv6: 'fd42::9' };
    expect(hosts.set(host, {})).toBe(true);
    expect(hosts.set(host, {})).toBe(false);
    expect(readdirSync(dir)).toEqual(['p_q_c1.eth-0--a']);
    expect(readFileSync(join(dir, 'p_q_c1.eth-0--a'), 'utf8')).toBe('00:16:3e:00:00:01,10.0.0.9,[fd42::9],c1.p_q\n');
    expect(hosts.all()).toEqual([{ ...host, hwaddr: '00:16:3e:00:00:01' }]);
    hosts.set({ project: 'default', instance: 'c2', device: 'eth0', hwaddr: '00:16:3e:00:00:02' }, { 'dns.mode': 'dynamic' });
    expect(readFileSync(join(dir, 'c2.eth0'), 'utf8')).toBe('# 00:16:3e:00:00:02\n');
    expect(hosts.get({ project: 'default', instance: 'c2', device: 'eth0' })?.hwaddr).toBe('00:16:3e:00:00:02');
    expect([hosts.remove(host), hosts.remove(host)]).toEqual([true, false]);
  });
});

describe('leases', () => {
  const text = [
    '1795646234 00:16:3e:00:00:01 10.0.0.50 c1 01:00:16:3e:00:00:01',
    '1795646234 00:16:3e:00:00:02 10.0.0.51 other *',
    'duid 00:01:00:01:32:9a',
    '1795646234 1234 fd42::50 c1 00:03:00:01:00:16:3e:00:00:01',
  ].join('\n');
  const network = {
    name: 'br0',
    project: 'default',
    config: { 'ipv4.address': '10.0.0.1/24', 'ipv6.address': 'fd42::1/64', 'ipv6.dhcp.stateful': 'true' },
  };
  const hosts = [
    { project: 'default', instance: 'c1', device: 'eth0', hwaddr: '00:16:3e:00:00:01' },
    { project: 'p', instance: 'c2', device: 'eth0', hwaddr: '00:16:3e:00:00:02', ipv4: '10.0.0.51' },
  ];
  it('are read from dnsmasq’s file', () => {
    const { leases, serverDuid } = parseLeases(text);
    expect(serverDuid).toBe('00:01:00:01:32:9a');
    expect(leases.map(({ address }) => address)).toEqual(['10.0.0.50', '10.0.0.51', 'fd42::50']);
    expect(leases[2]).toMatchObject({ hwaddr: '', v6: { iaid: '1234' } });
  });
  it('are shown to each project its own', () => {
    const { leases } = parseLeases(text);
    const show = (project: string): string[] =>
      leaseRows({ network, project, hosts, dynamic: leases, location: 'm1' }).map((row) => `${row.type} ${row.address}`);
    expect(show('default')).toEqual(['gateway 10.0.0.1', 'gateway fd42::1', 'dynamic 10.0.0.50', 'dynamic fd42::50']);
    expect(show('p')).toEqual(['static 10.0.0.51']);
  });
});

it('gives a lease back in the words of RFC 2131', () => {
  const packet = releasePacket({ hwaddr: '00:16:3e:00:00:01', address: '10.0.0.50', server: '10.0.0.1' }, Buffer.from([1, 2, 3, 4]));
  expect([...packet.subarray(0, 8)]).toEqual([1, 1, 6, 0, 1, 2, 3, 4]);
  expect([...packet.subarray(12, 16)]).toEqual([10, 0, 0, 50]);
  expect([...packet.subarray(28, 34)]).toEqual([0, 0x16, 0x3e, 0, 0, 1]);
  expect([...packet.subarray(236, 250)]).toEqual([0x63, 0x82, 0x53, 0x63, 53, 1, 7, 54, 4, 10, 0, 0, 1, 255]);
});
