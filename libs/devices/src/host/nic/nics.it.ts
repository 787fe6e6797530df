import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseIdmap, linkExists, readLink, run, runOk } from '#host-kit';
import { linkFile } from '#networks/host';
import { createNetwork } from '#networks/state';
import { internalIdentity } from '#replica/state';
import { Rig } from '../testing/rig.js';
import { BridgedNicDriver } from './bridged.driver.js';
import { MacvlanNicDriver } from './macvlan.driver.js';
import { PointToPointNicDriver } from './p2p.driver.js';
import { PhysicalNicDriver } from './physical.driver.js';
import { sweepNics } from './veth.js';

/** Real nics in real containers. Needs root and lxc. */
const rig = new Rig();
const idmap = baseIdmap(100_000, 65_536);
const mac = '00:16:3e:aa:00:01';
let bridged: BridgedNicDriver;

beforeAll(async () => {
  await rig.open();
  bridged = new BridgedNicDriver(rig.context, rig.networks);
});
afterAll(() => rig.close());

const hostsFile = (file: string): string => readFileSync(join(rig.stateDir, 'networks', rig.bridge, 'dnsmasq.hosts', file), 'utf8');
const table = async (family: string): Promise<string> => (await run('nft', ['list', 'table', family, rig.table])).stdout.toString();

describe('a bridged nic', () => {
  const device = { type: 'nic', network: rig.bridge, name: 'eth0', hwaddr: mac, 'ipv4.address': `${rig.prefix}.50` };

  it('is there after the start, gets its address by DHCP, and survives a reboot that nobody was asked about', async () => {
    const owner = rig.owner(1, 'c1', { eth0: device });
    const prepared = await bridged.prepare(owner, 'eth0', device);
    const pid = await rig.start('c1', [prepared], idmap);
    const host = owner.config['volatile.eth0.host_name']!;
    expect(host).toMatch(/^veth[0-9a-f]{8}$/);
    expect(linkFile(host, 'master/ifindex')).toBe(linkFile(rig.bridge, 'ifindex'));
    expect((await readLink('eth0', { pid }))?.mac).toBe(mac);
    expect(hostsFile('c1.eth0')).toBe(`${mac},${rig.prefix}.50,c1\n`);
    expect(await rig.inside('c1', 'udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-s', '/bin/true')).toContain(`${rig.prefix}.50`);

    await rig.inside('c1', 'reboot', '-f');
    await expect
      .poll(async () => (await rig.pid('c1')) !== pid && (await readLink('eth0', { pid: await rig.pid('c1') }))?.mac, { timeout: 5000 })
      .toBe(mac);
    expect(owner.config['volatile.eth0.host_name']).toBe(host);

    await rig.stop('c1');
    await bridged.detach({ ...owner, pid: undefined }, 'eth0', device);
    await bridged.detach({ ...owner, pid: undefined }, 'eth0', device);
    expect(linkExists(host)).toBe(false);
    expect(owner.config).toEqual({});
    await bridged.removed(owner, 'eth0', device);
    expect(() => hostsFile('c1.eth0')).toThrow();
  });

  it('is plugged into a running container, changed there, and taken out again', async () => {
    const pid = await rig.start('c2', [], idmap);
    const owner = rig.owner(2, 'c2', { eth0: device }, { pid });
    await bridged.attach(owner, 'eth0', { ...device, 'limits.max': '10Mbit', 'ipv4.routes': '198.51.100.0/24' });
    expect((await readLink('eth0', { pid }))?.flags).toContain('UP');
    const host = owner.config['volatile.eth0.host_name']!;
    expect((await runOk('ip', ['route', 'show', 'dev', rig.bridge])).toString()).toContain('198.51.100.0/24');
    expect((await runOk('tc', ['class', 'show', 'dev', host])).toString()).toContain('rate 10Mbit');
    const policed = (await runOk('tc', ['filter', 'show', 'dev', host, 'ingress'])).toString().includes('police');
    expect(policed || (await table('netdev')).includes('limit rate over 1250000 bytes/second')).toBe(true);

    const before = { ...device, 'limits.max': '10Mbit', 'ipv4.routes': '198.51.100.0/24' };
    const after = { ...device, 'ipv4.routes': '203.0.113.0/24', 'ipv4.address': `${rig.prefix}.51` };
    await bridged.update(owner, 'eth0', before, after);
    const routes = (await runOk('ip', ['route', 'show', 'dev', rig.bridge])).toString();
    expect(routes).toContain('203.0.113.0/24');
    expect(routes).not.toContain('198.51.100.0/24');
    expect((await runOk('tc', ['qdisc', 'show', 'dev', host])).toString()).not.toContain('htb');
    expect(await table('netdev')).not.toContain('limit');
    expect(hostsFile('c2.eth0')).toContain(`${rig.prefix}.51`);

    await bridged.detach(owner, 'eth0', after);
    expect(await readLink('eth0', { pid })).toBeUndefined();
    expect(linkExists(host)).toBe(false);
    expect((await runOk('ip', ['route', 'show', 'dev', rig.bridge])).toString()).not.toContain('203.0.113.0/24');
    await bridged.removed(owner, 'eth0', after);
    await rig.stop('c2');
  });

  it('lets nothing but its own addresses through when it is filtered', async () => {
    const filtered = {
      type: 'nic',
      network: rig.bridge,
      name: 'eth0',
      hwaddr: mac,
      'security.ipv4_filtering': 'true',
      'security.ipv6_filtering': 'true',
    };
    const owner = rig.owner(3, 'c3', { eth0: filtered });
    const pid = await rig.start('c3', [await bridged.prepare(owner, 'eth0', filtered)], idmap);
    const own = /,(10\.[\d.]+),/.exec(hostsFile('c3.eth0'))![1]!;
    const ping = (): Promise<string> => rig.inside('c3', 'ping', '-c', '1', '-W', '1', `${rig.prefix}.1`);
    await rig.inside('c3', 'ip', 'addr', 'add', `${own}/24`, 'dev', 'eth0');
    expect(await ping()).toContain('1 packets received');
    await rig.inside('c3', 'ip', 'addr', 'flush', 'dev', 'eth0');
    await rig.inside('c3', 'ip', 'addr', 'add', `${rig.prefix}.222/24`, 'dev', 'eth0');
    expect(await ping()).toContain('0 packets received');
    await rig.inside('c3', 'ip', 'addr', 'flush', 'dev', 'eth0');
    await rig.inside('c3', 'ip', 'addr', 'add', `${own}/24`, 'dev', 'eth0');
    expect(await ping()).toContain('1 packets received');
    await runOk('nsenter', ['-t', String(pid), '-n', 'ip', 'link', 'set', 'eth0', 'address', '00:16:3e:aa:00:99']);
    expect(await ping()).toContain('0 packets received');
    expect(await table('bridge')).toContain('ether saddr != 00:16:3e:aa:00:01 drop');

    // Changed to no filter while it runs.
    await bridged.update(owner, 'eth0', filtered, { ...filtered, 'security.ipv4_filtering': '', 'security.ipv6_filtering': '' });
    expect(await table('bridge')).not.toContain('drop');
    await rig.stop('c3');
    await bridged.detach({ ...owner, pid: undefined }, 'eth0', filtered);
    await bridged.removed(owner, 'eth0', filtered);
  });

  it('leaves nothing behind when it cannot be plugged in', async () => {
    const pid = await rig.start('c4', [], idmap);
    const owner = rig.owner(4, 'c4', { eth0: device }, { pid });
    await expect(bridged.attach(owner, 'eth0', { ...device, name: 'lo' })).rejects.toThrow();
    expect(owner.config).toEqual({});
    expect((await runOk('ip', ['-br', 'link'])).toString()).not.toMatch(/^veth/m);
    await bridged.removed(owner, 'eth0', device);
    await expect(bridged.prepare(owner, 'eth0', { type: 'nic', nictype: 'bridged', parent: 'nope0' })).rejects.toThrow(
      'Parent device "nope0" doesn\'t exist',
    );
    await rig.stop('c4');
  });

  it('is swept when its instance is not there', async () => {
    const owner = rig.owner(5, 'c5', { eth0: device });
    await bridged.prepare(owner, 'eth0', device);
    const host = owner.config['volatile.eth0.host_name']!;
    await sweepNics(rig.context, new Set([5]));
    expect(linkExists(host)).toBe(true);
    await sweepNics(rig.context, new Set());
    expect(linkExists(host)).toBe(false);
    await bridged.removed(owner, 'eth0', device);
  });
});

describe('other nics', () => {
  it('p2p: a wire to the host with routes', async () => {
    const driver = new PointToPointNicDriver(rig.context);
    const device = { type: 'nic', nictype: 'p2p', name: 'eth0', hwaddr: mac, 'ipv4.routes': '192.0.2.50/32', host_name: `mp${rig.hash}` };
    const owner = rig.owner(6, 'c6', { eth0: device });
    const pid = await rig.start('c6', [await driver.prepare(owner, 'eth0', device)], idmap);
    expect(await readLink('eth0', { pid })).toBeDefined();
    expect((await runOk('ip', ['route', 'show', 'dev', `mp${rig.hash}`])).toString()).toContain('192.0.2.50');
    await driver.detach({ ...owner, pid }, 'eth0', device);
    expect(await readLink('eth0', { pid })).toBeUndefined();
    await driver.attach({ ...owner, pid }, 'eth0', device);
    expect((await readLink('eth0', { pid }))?.mac).toBe(mac);
    await rig.stop('c6');
    await driver.detach(owner, 'eth0', device);
    expect(linkExists(`mp${rig.hash}`)).toBe(false);
  });

  it('macvlan and physical: on an interface of the host, and away again', async () => {
    const parent = `md${rig.hash}`;
    await runOk('ip', ['link', 'add', parent, 'type', 'veth', 'peer', 'name', `${parent}p`]);
    await runOk('ip', ['link', 'set', parent, 'up']);
    try {
      const macvlan = new MacvlanNicDriver(rig.context, rig.networks);
      const device = { type: 'nic', nictype: 'macvlan', parent, name: 'eth0', hwaddr: mac };
      const owner = rig.owner(7, 'c7', { eth0: device });
      const pid = await rig.start('c7', [await macvlan.prepare(owner, 'eth0', device)], idmap);
      expect((await readLink('eth0', { pid }))?.kind).toBe('macvlan');
      await macvlan.detach({ ...owner, pid }, 'eth0', device);
      await macvlan.attach({ ...owner, pid }, 'eth0', device);
      expect((await readLink('eth0', { pid }))?.mac).toBe(mac);
      const physical = new PhysicalNicDriver(rig.context);
      const lent = { type: 'nic', nictype: 'physical', parent, name: 'eth1', mtu: '1400' };
      const other = rig.owner(7, 'c7', { eth1: lent }, { pid });
      await macvlan.detach({ ...owner, pid }, 'eth0', device);
      await physical.attach(other, 'eth1', lent);
      expect(linkExists(parent)).toBe(false);
      expect((await readLink('eth1', { pid }))?.mtu).toBe(1400);
      await physical.detach(other, 'eth1', lent);
      expect(linkFile(parent, 'mtu')).toBe('1500');
      expect(other.config).toEqual({});

      // By way of a managed network.
      const network = { project: 'default', name: `mn${rig.hash}`, type: 'macvlan', description: '', config: { parent, mtu: '1420' }, members: [1] };
      await rig.replica.submit(createNetwork, network, { identity: internalIdentity });
      const named = { type: 'nic', network: network.name, name: 'eth0' };
      await macvlan.attach({ ...owner, pid }, 'eth0', named);
      expect(await readLink('eth0', { pid })).toMatchObject({ kind: 'macvlan', mtu: 1420 });
      await macvlan.detach({ ...owner, pid }, 'eth0', named);

      await rig.stop('c7');
      const again = await rig.start('c8', [await physical.prepare(other, 'eth1', lent)], idmap);
      expect((await readLink('eth1', { pid: again }))?.mtu).toBe(1400);
      await rig.stop('c8');
      await sleep(50);
      await physical.detach({ ...other, pid: undefined }, 'eth1', lent);
      expect(linkFile(parent, 'mtu')).toBe('1500');
    } finally {
      await runOk('ip', ['link', 'delete', parent]);
    }
  });
});
