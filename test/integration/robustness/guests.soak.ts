import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { InstanceState } from '#api-contract';
import { Server, until } from '../../support/server.js';

let server: Server;

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ driver: 'btrfs' });
  await server.ok(['launch', 'busybox', 'c1', '-c', 'limits.processes=60', '-d', 'root,size=64MiB']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

const dnsmasq = (): number | undefined => {
  const found = readdirSync('/proc').find((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        /^\S*dnsmasq\0/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')) &&
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(server.dir)
      );
    } catch {
      return false;
    }
  });
  return found === undefined ? undefined : Number(found);
};

it('brings dnsmasq back', async () => {
  const before = dnsmasq()!;
  process.kill(before, 'SIGKILL');
  await until('another runs', () => dnsmasq() !== undefined && dnsmasq() !== before);
  await server.ok(['exec', 'c1', '--', 'udhcpc', '-i', 'eth0', '-n', '-q', '-t', '10']);
});

it('a guest that forks without end is held by limits.processes, and is stopped', async () => {
  await server.ok([
    'exec',
    'c1',
    '--',
    'sh',
    '-c',
    'printf "bomb() { bomb | bomb & }; bomb" > /root/bomb; (sh /root/bomb; sh /root/bomb) >/dev/null 2>&1 &',
  ]);
  await until('it is at its limit', async () => (await server.api.get<InstanceState>('/1.0/instances/c1/state')).processes >= 40);
  const { processes } = await server.api.get<InstanceState>('/1.0/instances/c1/state');
  expect(processes).toBeLessThanOrEqual(60);
  const started = Date.now();
  await server.api.change('PUT', '/1.0/instances/c1/state', { action: 'stop', force: true, timeout: 20 });
  console.log(`a fork bomb of ${processes} processes, stopped in ${Date.now() - started} ms`);
  await server.api.change('PUT', '/1.0/instances/c1/state', { action: 'start', timeout: 20 });
  expect(await server.ok(['exec', 'c1', '--', 'echo', 'fine'])).toBe('fine\n');
});

it('a guest that fills its disk fills its own only', async () => {
  const { code, stderr } = await server.lxc(['exec', 'c1', '--', 'dd', 'if=/dev/urandom', 'of=/root/all', 'bs=1M', 'count=200']);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/quota|space/i);
  const push = await server.api.raw('POST', '/1.0/instances/c1/files?path=/root/more', Buffer.alloc(2 ** 20, 1));
  console.log(`push into a full container: ${push.status} ${push.text}`);
  expect(push.status).toBeGreaterThanOrEqual(400);
  expect(push.text).toMatch(/quota|space/i);
  // What it needs to be stopped, started and deleted is not on its disk.
  await server.api.change('PUT', '/1.0/instances/c1/state', { action: 'restart', force: true, timeout: 20 });
  await server.ok(['exec', 'c1', '--', 'rm', '-f', '/root/all', '/root/more']);
  await server.ok(['launch', 'busybox', 'c2']);
  await server.ok(['delete', '-f', 'c2']);
});

it('a guest that renames directories under a transfer gets nothing of the host written or read', { timeout: 120_000 }, async () => {
  const swap = 'mkdir -p /root/a /root/b; echo inside > /root/a/passwd; rm -rf /root/l; ln -s /etc /root/l; ';
  const loop = 'while :; do mv /root/a /root/x; ln -s ../../../../../../../etc /root/a; rm /root/a; mv /root/x /root/a; done';
  await server.ok(['exec', 'c1', '--', 'sh', '-c', `${swap} (${loop}) >/dev/null 2>&1 &`]);
  const passwd = readFileSync('/etc/passwd', 'utf8');
  const guests = await server.ok(['exec', 'c1', '--', 'cat', '/etc/passwd']);
  const seen = new Map<string, number>();
  for (let round = 0; round < 300; round++) {
    const read = await server.api.raw('GET', '/1.0/instances/c1/files?path=/root/a/passwd');
    const kind = read.status !== 200 ? String(read.status) : read.text === 'inside\n' ? 'inside' : read.text === guests ? 'its own' : read.text;
    seen.set(kind, (seen.get(kind) ?? 0) + 1);
    await server.api.raw('POST', `/1.0/instances/c1/files?path=/root/a/muster-written`, 'x');
  }
  console.log(`300 reads under renames: ${JSON.stringify([...seen])}`);
  expect([...seen.keys()].filter((kind) => !/^(inside|its own|4\d\d|500)$/.test(kind))).toEqual([]);
  expect(readFileSync('/etc/passwd', 'utf8')).toBe(passwd);
  expect(readdirSync('/etc')).not.toContain('muster-written');
});
