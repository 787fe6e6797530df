import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance } from '#api-contract';
import { covers } from '../support/covers.js';
import { GuestClient } from '../support/guest-client.js';
import { Server, until } from '../support/server.js';

let server: Server;
let guest: GuestClient;
const json = async (path: string): Promise<unknown> => JSON.parse((await guest.get(path)).body);

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  await server.ok(['launch', 'busybox', 'c1']);
  guest = await new GuestClient(server, 'c1').install();
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('/dev/lxd', () => {
  it('says what it is, and shows keys of user.* and cloud-init.* only', async () => {
    expect(await json('/')).toEqual(['/1.0']);
    expect(await json('/1.0')).toMatchObject({ api_version: '1.0', location: 'none', instance_type: 'container' });
    await server.ok(['config', 'set', 'c1', 'user.foo=bar %s bar', 'cloud-init.user-data=#cloud-config', 'security.nesting=false']);
    expect(((await json('/1.0/config')) as string[]).sort()).toEqual(['/1.0/config/cloud-init.user-data', '/1.0/config/user.foo']);
    expect(await guest.get('/1.0/config/user.foo')).toMatchObject({ status: 200, body: 'bar %s bar' });
    expect(await guest.get('/1.0/config/user%2Efoo')).toMatchObject({ status: 200, body: 'bar %s bar' });
    expect(await guest.get('/1.0/config/user.none')).toMatchObject({ status: 404, body: 'not found\n' });
    expect(await guest.get('/1.0/config/security.nesting')).toMatchObject({ status: 403, body: 'not authorized\n' });
    expect((await guest.get('/1.0/nothing')).status).toBe(404);
  });

  it('gives meta-data, and devices with the address of the nic', async () => {
    await server.ok(['config', 'set', 'c1', 'user.meta-data', 'more: yes']);
    const { config } = await server.api.get<Instance>('/1.0/instances/c1');
    expect((await guest.get('/1.0/meta-data')).body).toBe(
      `#cloud-config\ninstance-id: ${config['volatile.cloud-init.instance-id']}\nlocal-hostname: c1\nmore: yes`,
    );
    const devices = (await json('/1.0/devices')) as Record<string, Record<string, string>>;
    expect(devices.eth0).toMatchObject({ type: 'nic', hwaddr: config['volatile.eth0.hwaddr'] });
    expect(devices.root).toMatchObject({ path: '/' });
  });

  it('is for root only', async () => {
    expect(await guest.get('/1.0', { user: 1000 })).toMatchObject({ status: 401, body: 'Access denied for non-root user\n' });
  });

  it('tells of keys and devices that change, in lines and by websocket', async () => {
    covers('devlxd_events');
    await server.ok(['config', 'set', 'c1', 'user.foo', 'bar']);
    const lines = guest.raw('GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n', { events: 3, copy: '/tmp/lines' });
    const typed = guest.raw('GET /1.0/events?type=device HTTP/1.1\r\nHost: x\r\n\r\n', { events: 2, copy: '/tmp/typed' });
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw==';
    const frames = guest.raw(`GET /1.0/events HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n\r\n`, { events: 3, copy: '/tmp/frames' });
    const heads = async (): Promise<number> =>
      (await server.lxc(['exec', 'c1', '--', 'cat', '/tmp/lines', '/tmp/typed', '/tmp/frames'])).stdout.split('HTTP/1.1').length - 1;
    await until('three listeners', async () => (await heads()) === 3);
    await server.ok(['config', 'set', 'c1', 'user.foo', 'baz']);
    await server.ok(['config', 'set', 'c1', 'security.nesting', 'true']);
    await server.ok(['config', 'device', 'add', 'c1', 'mnt', 'disk', `source=${server.dir}/client`, 'path=/mnt']);
    await server.ok(['config', 'device', 'remove', 'c1', 'mnt']);
    const config = { path: '/mnt', source: `${server.dir}/client`, type: 'disk' };
    const wanted = [
      { type: 'config', metadata: { key: 'user.foo', old_value: 'bar', value: 'baz' } },
      { type: 'device', metadata: { action: 'added', name: 'mnt', config } },
      { type: 'device', metadata: { action: 'removed', name: 'mnt', config } },
    ];
    const eventsOf = (text: string): unknown[] =>
      // Between the events: ends of lines, or the heads of frames.
      [...text.matchAll(/\{"type":"(?:config|device)".*?\}(?=\n|[^"}]*\{"type"|$)/gs)].map((match) => {
        const { timestamp, ...event } = JSON.parse(match[0]) as { timestamp: string };
        expect(new Date(timestamp).getTime()).toBeGreaterThan(Date.now() - 60_000);
        return event;
      });
    expect(eventsOf((await lines).stdout)).toEqual(wanted);
    expect(eventsOf((await typed).stdout)).toEqual(wanted.slice(1));
    const { stdout } = await frames;
    expect(stdout).toContain('101 Switching Protocols');
    expect(eventsOf(stdout)).toEqual(wanted);
  });

  it('gives images that are public or cached, where the guest may', async () => {
    covers('devlxd_images');
    const [image] = await server.api.get<{ fingerprint: string; size: number }[]>('/1.0/images?recursion=1');
    const { fingerprint, size } = image!;
    const path = `/1.0/images/${fingerprint}/export`;
    expect((await guest.get(path)).status).toBe(403);
    await server.ok(['config', 'set', 'c1', 'security.devlxd.images', 'true']);
    expect((await guest.get(path)).status).toBe(404);
    await server.api.change('PATCH', `/1.0/images/${fingerprint}`, { public: true });
    const fetching = `printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' | perl /guest.pl 0 20 | tail -c ${size} | sha256sum`;
    expect(await server.ok(['exec', 'c1', '--', 'sh', '-c', fetching])).toContain(fingerprint);
    expect((await guest.get(`/1.0/images/${fingerprint.slice(0, 12)}/export`)).status).toBe(404);
    await server.ok(['config', 'set', 'c1', 'security.devlxd.images', 'false']);
    expect((await guest.get(path)).status).toBe(403);
  });

  it('goes and comes with security.devlxd, running or not', async () => {
    covers('restrict_devlxd');
    const there = async (): Promise<boolean> => (await server.lxc(['exec', 'c1', '--', 'test', '-S', '/dev/lxd/sock'])).code === 0;
    expect(await there()).toBe(true);
    await server.ok(['config', 'set', 'c1', 'security.devlxd', 'false']);
    expect(await there()).toBe(false);
    await server.ok(['restart', 'c1', '--force']);
    expect(await there()).toBe(false);
    await server.ok(['config', 'unset', 'c1', 'security.devlxd']);
    expect(await there()).toBe(true);
    expect(await json('/')).toEqual(['/1.0']);
  });
});

it.skipIf(process.env.MUSTER_CONFORMANCE_SERVER === 'lxd')('outlives the daemon, and goes with the instance', async () => {
  await server.crash();
  await server.boot();
  await until('an answer', async () => (await guest.raw('GET / HTTP/1.0\r\n\r\n')).stdout.endsWith('["/1.0"]\n'));
  await server.ok(['restart', 'c1', '--force']);
  expect(await json('/')).toEqual(['/1.0']);
});
