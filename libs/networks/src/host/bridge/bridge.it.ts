import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkExists, run, runOk } from '#host-kit';
import { silent, systemClock } from '#kit';
import type { HostContext } from '#members';
import type { ManagedNetwork } from '../../model/index.js';
import { linkFile } from '../ip.command.js';
import { BridgeDriver } from './bridge.driver.js';

/** A real bridge, dnsmasq and nftables table on this host, under names of our own; a client in a network namespace of its own. Needs root. */
const stateDir = mkdtempSync(join(tmpdir(), 'muster-net-'));
const hash = createHash('sha256').update(stateDir).digest('hex').slice(0, 6);
const table = `muster_${hash}`;
const name = `mt${hash}`;
const client = `mt${hash}c`;

const context = {
  server: { stateDir, memberName: () => 'none', memberId: 1, fingerprint: () => hash },
  naming: { hash, nftTable: table, lxc: (project: string, instance: string) => `${project}_${instance}` },
  clock: systemClock,
  log: silent,
} as unknown as HostContext;

const third = parseInt(hash.slice(0, 2), 16);
const fourth = parseInt(hash.slice(2, 4), 16);
const prefix = `10.${third % 255}.${fourth % 255}`;
const network: ManagedNetwork = {
  id: 7,
  project: 'default',
  name,
  type: 'bridge',
  config: { 'ipv4.address': `${prefix}.1/24`, 'ipv4.nat': 'true', 'ipv6.address': `fd42:${hash.slice(0, 4)}:1::1/64`, 'ipv6.nat': 'true' },
};
const mac = '00:16:3e:11:22:33';
const nic = { project: 'default', instance: 'c1', device: 'eth0' };
const inClient = (...words: string[]): Promise<Buffer> => runOk('ip', ['netns', 'exec', client, ...words], { timeoutMs: 20_000 });
const dnsmasqPid = (): number => Number(readFileSync(join(stateDir, 'networks', name, 'dnsmasq.pid'), 'utf8'));

let driver = new BridgeDriver(context);

beforeAll(async () => {
  await driver.check(network);
  await driver.apply(network);
  await runOk('ip', ['netns', 'add', client]);
  await runOk('ip', ['link', 'add', `${client}0`, 'type', 'veth', 'peer', 'name', 'eth0', 'address', mac, 'netns', client]);
  await runOk('ip', ['link', 'set', `${client}0`, 'master', name, 'up']);
  await inClient('ip', 'link', 'set', 'eth0', 'up');
});

afterAll(async () => {
  await run('ip', ['netns', 'delete', client]);
  await run('ip', ['link', 'delete', `${client}0`]);
  await driver.remove(network);
  await run('nft', ['-f', '-'], {
    input: `add table inet ${table}\ndelete table inet ${table}\nadd table bridge ${table}\ndelete table bridge ${table}\n`,
  });
  rmSync(stateDir, { recursive: true, force: true });
});

describe('a managed bridge', () => {
  it('gives a promised address by DHCP and the instance’s name by DNS', async () => {
    await driver.setHost(network, { ...nic, hwaddr: mac, ipv4: `${prefix}.77` });
    const said = (await inClient('busybox', 'udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-s', '/bin/true')).toString();
    expect(said + readFileSync(join(stateDir, 'networks', name, 'dnsmasq.leases'), 'utf8')).toContain(`${prefix}.77`);
    await inClient('ip', 'addr', 'add', `${prefix}.77/24`, 'dev', 'eth0');
    expect((await inClient('busybox', 'nslookup', 'c1.lxd', `${prefix}.1`)).toString()).toContain(`${prefix}.77`);
    expect(driver.leases(network, 'default')).toContainEqual({ hostname: 'c1', hwaddr: mac, address: `${prefix}.77`, type: 'static', location: '' });
    expect(driver.leases(network, 'default')[0]).toMatchObject({ hostname: `${name}.gw`, type: 'gateway' });
    expect(driver.leases(network, 'other')).toEqual([]);
  });

  it('refuses to promise one address to two nics', async () => {
    const second = { ...nic, instance: 'c2', hwaddr: '00:16:3e:00:00:02' };
    await driver.setHost(network, { ...second, ipv4: `${prefix}.78` });
    await expect(driver.setHost(network, { ...second, ipv4: `${prefix}.77` })).rejects.toThrow('already defined');
  });

  it('forgets what a nic had that asks for another’s address', () => {
    expect(driver.host(network, { ...nic, instance: 'c2' })).toBeUndefined();
  });

  it('has NAT and firewall rules in its own table, and forwards', async () => {
    const rules = (await runOk('nft', ['list', 'table', 'inet', table])).toString();
    expect(rules).toContain(`ip saddr ${prefix}.0/24 ip daddr != ${prefix}.0/24 masquerade`);
    expect(rules).toContain(`iifname "${name}" udp dport 67 accept`);
    expect(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim()).toBe('1');
  });

  it('keeps bridge and dnsmasq when a new daemon finds them as they should be', async () => {
    const before = { pid: dnsmasqPid(), index: linkFile(name, 'ifindex'), mac: linkFile(name, 'address') };
    driver.release();
    driver = new BridgeDriver(context);
    await driver.apply(network);
    expect({ pid: dnsmasqPid(), index: linkFile(name, 'ifindex'), mac: linkFile(name, 'address') }).toEqual(before);
  });

  it('brings dnsmasq back when it dies', async () => {
    const before = dnsmasqPid();
    process.kill(before, 'SIGKILL');
    await expect
      .poll(
        () => {
          try {
            return dnsmasqPid() !== before && process.kill(dnsmasqPid(), 0);
          } catch {
            return false;
          }
        },
        { timeout: 5000 },
      )
      .toBe(true);
  });

  it('changes addresses and MTU in place', async () => {
    const changed = {
      ...network,
      config: {
        ...network.config,
        'ipv6.address': 'none',
        'bridge.mtu': '1400',
        'ipv4.routes': '198.51.100.0/24',
        'bridge.hwaddr': '00:11:22:33:44:55',
      },
    };
    await driver.apply(changed);
    expect(linkFile(name, 'mtu')).toBe('1400');
    expect(linkFile(name, 'address')).toBe('00:11:22:33:44:55');
    expect((await runOk('ip', ['route', 'show', 'dev', name])).toString()).toContain('198.51.100.0/24');
    expect((await runOk('ip', ['-6', 'addr', 'show', 'dev', name])).toString()).toBe('');
    await driver.apply({ ...changed, config: { ...changed.config, 'ipv4.address': 'none' } });
    expect((await runOk('ip', ['-4', 'addr', 'show', 'dev', name])).toString()).toBe('');
    await driver.apply(network);
    expect(linkFile(name, 'mtu')).toBe('1500');
    expect((await runOk('ip', ['route', 'show', 'dev', name])).toString()).not.toContain('198.51.100.0/24');
  });

  it('carries a vxlan tunnel, and leaves it alone when nothing changed', async () => {
    const tunneled = {
      ...network,
      config: { ...network.config, 'tunnel.t.protocol': 'vxlan', 'tunnel.t.local': '127.0.0.1', 'tunnel.t.remote': '127.0.0.2' },
    };
    await driver.apply(tunneled);
    const index = linkFile(`${name}-t`, 'ifindex');
    expect(linkFile(`${name}-t`, 'master/ifindex')).toBe(linkFile(name, 'ifindex'));
    await driver.apply(tunneled);
    expect(linkFile(`${name}-t`, 'ifindex')).toBe(index);
    await driver.apply(network);
    expect(linkExists(`${name}-t`)).toBe(false);
  });

  it('gives a lease back when its nic goes', async () => {
    await driver.removeHost(network, nic);
    await expect.poll(() => readFileSync(join(stateDir, 'networks', name, 'dnsmasq.leases'), 'utf8'), { timeout: 3000 }).not.toContain(mac);
  });

  it('gives a DHCPv6 lease back too', async () => {
    const stateful = { ...network, config: { ...network.config, 'ipv6.dhcp.stateful': 'true' } };
    await driver.apply(stateful);
    const ipv6 = `fd42:${hash.slice(0, 4)}:1::77`;
    await driver.setHost(stateful, { ...nic, hwaddr: mac, ipv6 });
    // SOLICIT with rapid commit (RFC 8415), its DUID made of the MAC address.
    const script = `
      const { createSocket } = require('node:dgram');
      const option = (code, ...bytes) => [0, code, 0, bytes.length, ...bytes];
      const duid = [0, 3, 0, 1, ${mac
        .split(':')
        .map((word) => `0x${word}`)
        .join(', ')}];
      const packet = Buffer.from([1, 1, 2, 3, ...option(1, ...duid), ...option(14), ...option(8, 0, 0), ...option(3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0)]);
      const socket = createSocket('udp6');
      socket.bind(546, () => socket.send(packet, 547, 'ff02::1:2%eth0'));
      socket.on('message', () => process.exit(0));
      setTimeout(() => process.exit(1), 4000);`;
    await sleep(1500); // until the client's link-local address may be used
    await inClient(process.execPath, '-e', script);
    const leases = (): string => readFileSync(join(stateDir, 'networks', name, 'dnsmasq.leases'), 'utf8');
    await expect.poll(leases, { timeout: 3000 }).toContain(':1::77 ');
    await driver.removeHost(stateful, nic);
    await expect.poll(leases, { timeout: 3000 }).not.toContain(':1::77 ');
    await driver.apply(network);
  });

  it('says what is wrong with raw.dnsmasq, and works again without it', async () => {
    await expect(driver.apply({ ...network, config: { ...network.config, 'raw.dnsmasq': 'no-such-option=1' } })).rejects.toThrow(
      /exited prematurely.*no-such-option|bad option/s,
    );
    await driver.apply(network);
    expect(dnsmasqPid()).toBeGreaterThan(1);
  });

  it('disturbs no other daemon of the host', async () => {
    const stateDir2 = mkdtempSync(join(tmpdir(), 'muster-net-'));
    const hash2 = createHash('sha256').update(stateDir2).digest('hex').slice(0, 6);
    const other = new BridgeDriver({
      ...context,
      server: { ...context.server, stateDir: stateDir2, memberName: () => 'm2' },
      naming: { ...context.naming, hash: hash2, nftTable: `muster_${hash2}` },
    });
    try {
      const pid = dnsmasqPid();
      // A member of the same cluster on this host: the same network, with the same id and name.
      const same = { ...network, config: { 'ipv4.address': `10.253.${fourth % 255}.1/24`, 'ipv6.address': 'none' } };
      await other.check(same);
      await other.apply(same);
      expect(other.interfaceOf(same)).toBe(`mu${hash2}7`);
      await other.sweep(() => false);
      expect(other.interfaceOf(same)).toBeUndefined();
      expect(readdirSync(join(stateDir2, 'networks'))).toEqual([]);
      await other.remove(same);
      expect([dnsmasqPid(), driver.interfaceOf(network)]).toEqual([pid, name]);
      expect((await runOk('nft', ['list', 'table', 'inet', table])).toString()).toContain('masquerade');
    } finally {
      await run('nft', ['-f', '-'], { input: `add table inet muster_${hash2}\ndelete table inet muster_${hash2}\n` });
      rmSync(stateDir2, { recursive: true, force: true });
    }
  });

  it('refuses a name that the host uses', async () => {
    await expect((async () => driver.check({ ...network, id: 8 }))()).rejects.toThrow(`Network interface "${name}" already exists`);
  });

  it('is renamed with its leases', async () => {
    const renamed = `${name}r`;
    await driver.setHost(network, { ...nic, hwaddr: mac, ipv4: `${prefix}.77` });
    await runOk('ip', ['link', 'set', `${client}0`, 'nomaster']);
    await driver.rename(network, renamed);
    expect([linkExists(name), linkExists(renamed)]).toEqual([false, true]);
    expect(driver.host({ ...network, name: renamed }, nic)).toMatchObject({ ipv4: `${prefix}.77` });
    await driver.rename({ ...network, name: renamed }, name);
  });

  it('leaves nothing behind', async () => {
    const pid = dnsmasqPid();
    await driver.remove(network);
    await sleep(50);
    expect(linkExists(name)).toBe(false);
    expect(() => process.kill(pid, 0)).toThrow();
    expect((await runOk('nft', ['list', 'table', 'inet', table])).toString()).not.toContain(name);
    await driver.remove(network);
  });
});
