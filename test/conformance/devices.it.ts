import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

let server: Server;
let shared: string;
const inside = (...command: string[]): Promise<string> => server.ok(['exec', 'c1', '--', ...command]);
const add = (...device: string[]): Promise<string> => server.ok(['config', 'device', 'add', 'c1', ...device]);
const remove = (name: string): Promise<string> => server.ok(['config', 'device', 'remove', 'c1', name]);
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
const network = (config: Record<string, string>): Promise<unknown> => server.api.change('PATCH', `/1.0/networks/${server.bridge}`, { config });
let subnet: string;

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  const { config } = await server.api.get<{ config: Record<string, string> }>(`/1.0/networks/${server.bridge}`);
  subnet = config['ipv4.address']!.split('.').slice(0, 3).join('.');
  await server.ok(['launch', 'busybox', 'c1']);
  shared = join(server.dir, 'shared');
  mkdirSync(shared, { mode: 0o755 });
  writeFileSync(join(shared, 'file'), 'of the host');
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('a disk', () => {
  it('of the host shows its owners as inside when shifted, as nobody otherwise', async () => {
    covers('container_disk_shift');
    await add('d', 'disk', `source=${shared}`, 'path=/mnt/d');
    expect(await inside('stat', '-c', '%u', '/mnt/d/file')).toBe('65534\n');
    await remove('d');
    await add('d', 'disk', `source=${shared}`, 'path=/mnt/d', 'shift=true');
    expect(await inside('stat', '-c', '%u', '/mnt/d/file')).toBe('0\n');
    await remove('d');
  });

  it('passes later mounts on where it is told to', async () => {
    covers('container_mount_propagation');
    await server.ok(['stop', '-f', 'c1']);
    await add('d', 'disk', `source=${shared}`, 'path=/mnt/d', 'propagation=rslave');
    await server.ok(['start', 'c1']);
    const { pid } = await server.api.get<{ pid: number }>('/1.0/instances/c1/state');
    expect(readFileSync(`/proc/${pid}/mountinfo`, 'latin1')).toMatch(/ \/mnt\/d [^-]*(master|shared):\d+/);
    await remove('d');
  });

  it('of a volume belongs to its first user, or to nobody where the volume is not mapped', async () => {
    covers('storage_unmapped', 'storage_shifted');
    await server.ok(['storage', 'volume', 'create', 'default', 'v']);
    await add('v', 'disk', 'pool=default', 'source=v', 'path=/mnt/v');
    await inside('sh', '-c', 'echo x > /mnt/v/x');
    expect(await inside('stat', '-c', '%u', '/mnt/v/x')).toBe('0\n');
    await remove('v');
    await server.ok(['storage', 'volume', 'create', 'default', 'u', 'security.unmapped=true']);
    await add('u', 'disk', 'pool=default', 'source=u', 'path=/mnt/u');
    expect(await inside('stat', '-c', '%u', '/mnt/u')).toBe('65534\n');
    await remove('u');
    await server.ok(['storage', 'volume', 'create', 'default', 's', 'security.shifted=true']);
    await add('s', 'disk', 'pool=default', 'source=s', 'path=/mnt/s');
    expect(await inside('stat', '-c', '%u', '/mnt/s')).toBe('0\n');
    await remove('s');
    for (const name of ['v', 'u', 's']) await server.ok(['storage', 'volume', 'delete', 'default', name]);
  });
});

describe('a device node', () => {
  it('of the host is found inside under another name', async () => {
    covers('unix_device_rename');
    await add('n', 'unix-char', 'source=/dev/null', 'path=/dev/nothing', 'mode=600');
    expect(await inside('stat', '-c', '%t:%T %a', '/dev/nothing')).toBe('1:3 600\n');
    await remove('n');
  });

  it('comes when the host has it, where it is not required', async () => {
    covers('unix_device_hotplug');
    const node = `/dev/muster-test-${server.bridge}`;
    try {
      await add('h', 'unix-char', `source=${node}`, 'path=/dev/late', 'required=false');
      expect((await server.lxc(['exec', 'c1', '--', 'test', '-e', '/dev/late'])).code).toBe(1);
      execFileSync('mknod', [node, 'c', '1', '3']);
      await until('the node is there', async () => (await server.lxc(['exec', 'c1', '--', 'test', '-c', '/dev/late'])).code === 0);
      rmSync(node);
      await until('the node is gone', async () => (await server.lxc(['exec', 'c1', '--', 'test', '-e', '/dev/late'])).code === 1);
      await remove('h');
    } finally {
      rmSync(node, { force: true });
    }
  });
});

describe('a nic', () => {
  it('brings routes to the host', async () => {
    covers('container_nic_routes');
    await server.ok(['config', 'device', 'override', 'c1', 'eth0', 'ipv4.routes=198.51.100.128/25']);
    const { config } = await server.api.get<Instance>('/1.0/instances/c1');
    expect(ip('route', 'show', '198.51.100.128/25')).toMatch(new RegExp(`dev (${server.bridge}|${config['volatile.eth0.host_name']})`));
    await remove('eth0');
    expect(ip('route', 'show', '198.51.100.128/25')).toBe('');
  });
});

describe('a bridge', () => {
  it('has the address, the routes and the leases that its keys say', async () => {
    covers('network_hwaddr', 'network_routes', 'network_dhcp_expiry', 'network_dhcp_gateway', 'network_leases_location');
    await network({
      'bridge.hwaddr': '00:16:3e:00:00:07',
      'ipv4.routes': '198.51.100.0/25',
      'ipv4.dhcp.expiry': '10m',
      'ipv4.dhcp.gateway': `${subnet}.9`,
    });
    expect(ip('link', 'show', server.bridge)).toContain('00:16:3e:00:00:07');
    expect(ip('route', 'show', '198.51.100.0/25')).toContain(server.bridge);
    await server.ok(['restart', '-f', 'c1']);
    await until('an address by DHCP', async () =>
      new RegExp(`inet ${subnet}`.replaceAll('.', '\\.')).test(await inside('ip', 'addr', 'show', 'eth0')),
    );
    await until('the gateway of DHCP', async () => (await inside('ip', 'route')).includes(`default via ${subnet}.9`));
    const leases = await server.api.get<{ hostname: string; location: string; type: string }[]>(`/1.0/networks/${server.bridge}/leases`);
    expect(leases.find(({ hostname }) => hostname === 'c1')).toMatchObject({ location: '', type: 'dynamic' });
    const file = readFileSync(join(server.dir, 'networks', server.bridge, 'dnsmasq.leases'), 'latin1');
    expect(Number(/^(\d+) /m.exec(file)![1]) - Date.now() / 1000).toBeLessThan(601);
  });

  it('translates addresses to the one that is wanted, before or after other rules, and filters only where it is told to', async () => {
    covers('network_nat_address', 'network_nat_order', 'network_firewall_filtering');
    const rules = (): string => execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' });
    const ours = (): string[] =>
      rules()
        .split('\n')
        .filter((line) => line.includes(server.bridge) || line.includes(`${subnet}.0/24`));
    await network({ 'ipv4.nat': 'true', 'ipv4.nat.address': '203.0.113.7', 'ipv4.nat.order': 'after' });
    expect(ours().join('\n')).toContain('snat ip to 203.0.113.7');
    await network({ 'ipv4.nat.address': '' });
    expect(ours().join('\n')).toContain('masquerade');
    expect(ours().some((line) => /[io]ifname.*accept|chain (in|fwd)/.test(line))).toBe(true);
    await network({ 'ipv4.firewall': 'false' });
    expect(ours().some((line) => /ip version 4.*[io]ifname.*accept/.test(line))).toBe(false);
  });
});
