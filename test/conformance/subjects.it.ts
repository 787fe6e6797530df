import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { Instance, InstanceSnapshot, InstanceState } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

let server: Server;
const get = <T>(path: string): Promise<T> => server.api.get<T>(path);
type Document = Record<string, unknown>;

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  await server.ok(['launch', 'busybox', 'c1']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('networks', () => {
  it('have addresses, a state, leases and users', async () => {
    covers('network', 'network_state', 'network_leases', 'instance_nic_network');
    const url = `/1.0/networks/${server.bridge}`;
    expect(await get<Document>(url)).toMatchObject({
      type: 'bridge',
      managed: true,
      status: 'Created',
      used_by: expect.arrayContaining(['/1.0/instances/c1']),
    });
    expect(await get<Document>(`${url}/state`)).toMatchObject({ state: 'up', addresses: [{ family: 'inet', address: `${server.subnet}.1` }] });
    await until('a lease', async () => (await server.ok(['network', 'list-leases', server.bridge])).includes('c1'));
    const { expanded_devices: devices } = await get<Instance>('/1.0/instances/c1');
    expect(devices.eth0).toMatchObject({ type: 'nic', network: server.bridge });
  });

  it('are made, changed and deleted by the client', async () => {
    const name = `${server.bridge}x`;
    await server.ok(['network', 'create', name, 'ipv4.address=none', 'ipv6.address=none']);
    await server.ok(['network', 'set', name, 'bridge.mtu', '1400']);
    expect(await server.ok(['network', 'info', name])).toContain('MTU: 1400');
    await server.ok(['network', 'delete', name]);
    expect((await server.lxc(['network', 'show', name])).code).not.toBe(0);
  });
});

describe('storage', () => {
  it('has pools and custom volumes, which are renamed', async () => {
    covers('storage', 'storage_api_volume_rename');
    expect(await get<Document>('/1.0/storage-pools/default')).toMatchObject({ driver: 'dir', status: 'Created' });
    await server.ok(['storage', 'volume', 'create', 'default', 'v1']);
    await server.ok(['storage', 'volume', 'rename', 'default', 'v1', 'v2']);
    await server.ok(['storage', 'volume', 'attach', 'default', 'v2', 'c1', 'data', '/data']);
    await server.ok(['exec', 'c1', '--', 'touch', '/data/kept']);
    await server.ok(['storage', 'volume', 'detach', 'default', 'v2', 'c1']);
    expect((await server.lxc(['exec', 'c1', '--', 'ls', '/data/kept'])).code).not.toBe(0);
    await server.ok(['storage', 'volume', 'delete', 'default', 'v2']);
  });
});

describe('projects', () => {
  it('have instances, profiles, images and volumes of their own, and say what they use', async () => {
    covers('projects', 'project_usage', 'storage_api_project', 'instance_all_projects');
    await server.ok(['project', 'create', 'p1', '-c', 'features.images=false', '-c', 'limits.instances=1']);
    await server.ok(['profile', 'device', 'add', 'default', 'root', 'disk', 'path=/', 'pool=default', '--project', 'p1']);
    await server.ok(['init', 'busybox', 'inner', '--project', 'p1']);
    await server.ok(['storage', 'volume', 'create', 'default', 'v1', '--project', 'p1']);
    expect(await get<string[]>('/1.0/storage-pools/default/volumes/custom?project=default')).toEqual([]);
    expect(await server.ok(['project', 'info', 'p1'])).toMatch(/INSTANCES\s*\|\s*1\s*\|\s*1/);
    const refused = await server.lxc(['init', 'busybox', 'second', '--project', 'p1']);
    expect(refused.stderr).toContain('Reached maximum number of instances in project "p1"');
    expect(await get<string[]>('/1.0/instances?all-projects=true')).toEqual(
      expect.arrayContaining(['/1.0/instances/c1', '/1.0/instances/inner?project=p1']),
    );
    await server.ok(['delete', 'inner', '--project', 'p1']);
    await server.ok(['storage', 'volume', 'delete', 'default', 'v1', '--project', 'p1']);
    await server.ok(['project', 'delete', 'p1']);
  });
});

describe('instances', () => {
  it('are shown whole in one answer, and found by filters', async () => {
    covers('instances', 'container_full', 'instance_get_full', 'api_filtering');
    const full = await get<Instance & { state: InstanceState; snapshots: null; backups: null }>('/1.0/instances/c1?recursion=1');
    expect(full).toMatchObject({ name: 'c1', snapshots: null, backups: null, state: { status: 'Running' } });
    expect(await get<Document[]>('/1.0/instances?recursion=2')).toMatchObject([{ name: 'c1', state: { status: 'Running', pid: full.state.pid } }]);
    expect(await get<string[]>('/1.0/instances?filter=status%20eq%20running')).toEqual(['/1.0/instances/c1']);
    expect(await get<string[]>('/1.0/instances?filter=status%20eq%20stopped')).toEqual([]);
  });

  it('have a console and its log', async () => {
    covers('console');
    const answer = await server.api.raw('POST', '/1.0/instances/c1/console', JSON.stringify({ width: 80, height: 24 }));
    const { operation, metadata } = JSON.parse(answer.text) as { operation: string; metadata: { metadata: { fds: Record<string, string> } } };
    const connect = (fd: string): WebSocket =>
      new WebSocket(`ws+unix:${server.api.socketPath}:${operation}/websocket?secret=${metadata.metadata.fds[fd]}`);
    const [control, terminal] = [connect('control'), connect('0')];
    let seen = '';
    terminal.on('message', (data: Buffer) => (seen += data.toString()));
    // As a person would: Enter again until somebody answers.
    await until('a prompt on the console', () => {
      if (terminal.readyState === WebSocket.OPEN) terminal.send(Buffer.from('\r'));
      return seen.includes('login:');
    });
    terminal.close();
    control.close();
    await server.ok(['exec', 'c1', '--', 'sh', '-c', 'echo a line for the log > /dev/console']);
    await until('the line is in the log', async () => (await server.ok(['console', 'c1', '--show-log'])).includes('a line for the log'));
  });

  it('have metadata and templates that can be edited', async () => {
    covers('container_edit_metadata');
    await server.ok(['config', 'metadata', 'edit', 'c1'], {
      input: 'architecture: x86_64\ncreation_date: 5\nproperties: {os: mine}\ntemplates: {}\n',
    });
    expect(await server.ok(['config', 'metadata', 'show', 'c1'])).toContain('os: mine');
    await server.ok(['config', 'template', 'create', 'c1', 'motd.tpl']);
    expect(await server.ok(['config', 'template', 'list', 'c1'])).toContain('motd.tpl');
  });

  it('have snapshots that expire', async () => {
    covers('snapshot_expiry', 'snapshot_expiry_creation');
    await server.ok(['config', 'set', 'c1', 'snapshots.expiry', '1d']);
    await server.ok(['snapshot', 'c1', 'dated']);
    await server.ok(['snapshot', 'c1', 'lasting', '--no-expiry']);
    const expiry = async (name: string): Promise<string> => (await get<InstanceSnapshot>(`/1.0/instances/c1/snapshots/${name}`)).expires_at;
    expect(new Date(await expiry('dated')).getTime() - Date.now()).toBeGreaterThan(23 * 3600_000);
    expect(await expiry('lasting')).toBe('0001-01-01T00:00:00Z');
    await server.ok(['delete', 'c1/dated', 'c1/lasting'], {});
  });

  it('are started and stopped together', async () => {
    covers('instance_bulk_state_change');
    await server.ok(['init', 'busybox', 'c2']);
    await server.ok(['start', '--all']);
    expect((await get<Instance>('/1.0/instances/c2')).status).toBe('Running');
    await server.ok(['delete', '-f', 'c2']);
  });
});

describe('the rest', () => {
  it('gives an image its aliases as it is imported', async () => {
    covers('image_create_aliases');
    const file = join(server.dir, 'client/exported');
    await server.ok(['image', 'export', 'busybox', file]);
    await server.ok(['image', 'delete', 'busybox']);
    await server.ok(['image', 'import', `${file}.tar.gz`, '--alias', 'busybox', '--alias', 'second']);
    expect(await get<string[]>('/1.0/images/aliases')).toEqual(expect.arrayContaining(['/1.0/images/aliases/busybox', '/1.0/images/aliases/second']));
  });

  it('tells of the machine and of what is wrong', async () => {
    covers('resources', 'warnings');
    expect(await get<Document>('/1.0/resources')).toMatchObject({ memory: { total: expect.any(Number) }, cpu: { total: expect.any(Number) } });
    expect((await server.lxc(['warning', 'list'])).code).toBe(0);
  });

  it('trusts certificates by token, and lets them be renamed', async () => {
    covers('certificate_token', 'certificate_update');
    const address = await freePort();
    await server.ok(['config', 'set', 'core.https_address', address]);
    const token = (await server.ok(['config', 'trust', 'add', '--name', 'friend'])).trim().split('\n').at(-1)!;
    await server.ok(['remote', 'add', 'self', token, '--accept-certificate']);
    expect(await server.ok(['list', 'self:', '--format', 'csv', '-c', 'n'])).toContain('c1');
    const trust = await get<{ name: string; fingerprint: string }[]>('/1.0/certificates?recursion=1');
    expect(trust.map(({ name }) => name)).toEqual(['friend']);
    await server.api.change('PATCH', `/1.0/certificates/${trust[0]!.fingerprint}`, { name: 'neighbour' });
    expect(await server.ok(['config', 'trust', 'list'])).toContain('neighbour');
  });
});

async function freePort(): Promise<string> {
  const { createServer } = await import('node:net');
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(`127.0.0.1:${port}`));
    });
  });
}
