import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Operation } from '#api-contract';
import { selfSigned } from '#identities/host';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

interface Member {
  server_name: string;
  status: string;
  roles: string[];
  groups: string[];
  url: string;
}

const servers: Server[] = [];
/** On loopback, and nobody else's. */
const addressOf = ({ dir }: Server): string => {
  const hash = createHash('sha256').update(dir).digest();
  return `127.${100 + (hash[0]! % 100)}.${hash[1]}.${1 + (hash[2]! % 250)}:8443`;
};
const n = (number: number): Server => servers[number - 1]!;
const members = (through: Server): Promise<Member[]> => through.api.get('/1.0/cluster/members?recursion=1');
const roles = async (through: Server): Promise<Record<string, string>> =>
  Object.fromEntries((await members(through)).map((one) => [one.server_name, one.roles.join('+')]));
const leaderOf = async (through: Server): Promise<string> =>
  (await members(through)).find((one) => one.roles.includes('database-leader'))!.server_name;
const allOnline = (through: Server, count: number): Promise<void> =>
  until('all members online', async () => (await members(through)).filter(({ status }) => status === 'Online').length === count, 60_000);

/** The last line of `lxc cluster add` is the token. */
const tokenFor = async (through: Server, name: string): Promise<string> =>
  (await through.ok(['cluster', 'add', name])).trim().split('\n').at(-1)!.trim();

async function joinByToken(joiner: Server, through: Server, name: string): Promise<void> {
  const preseed = { cluster: { enabled: true, server_name: name, server_address: addressOf(joiner), cluster_token: await tokenFor(through, name) } };
  const { code, stderr } = await joiner.muster(['init', '--preseed'], { input: JSON.stringify(preseed), timeoutMs: 90_000 });
  expect({ code, stderr }).toMatchObject({ code: 0 });
}

beforeAll(async () => {
  for (let count = 0; count < 3; count += 1) servers.push(await Server.start());
  await n(1).furnish({ network: false });
  await n(1).ok(['config', 'set', 'core.https_address', addressOf(n(1))]);
  await n(1).ok(['cluster', 'enable', 'n1']);
}, 240_000);
afterAll(async () => {
  await servers[0]?.removeEverything().catch(() => undefined);
  // All at once: the last ones would wait for a majority that is gone.
  await Promise.all(servers.map((server) => server.stop()));
}, 240_000);

describe('a cluster', () => {
  it('begins with a server that runs, and takes others in by token', async () => {
    covers('clustering', 'clustering_join', 'clustering_join_token', 'clustering_server_address');
    expect(await n(1).ok(['cluster', 'list', '--format', 'csv'])).toContain('n1,https://');
    await joinByToken(n(2), n(1), 'n2');
    await joinByToken(n(3), n(2), 'n3');
    await allOnline(n(3), 3);
    for (const server of servers) {
      expect((await server.ok(['cluster', 'list', '--format', 'csv'])).match(/ONLINE/g)).toHaveLength(3);
      const { config } = await server.api.get<{ config: Record<string, string> }>('/1.0');
      expect(config['cluster.https_address']).toBe(addressOf(server));
    }
    expect(await n(2).ok(['info'])).toMatch(/server_clustered: true\n[^]*server_name: n2/);
  }, 180_000);

  it('gives the members database roles, and says which one leads', async () => {
    covers('clustering_roles', 'clustering_architecture', 'database_leader');
    await until('three voters', async () => Object.values(await roles(n(1))).every((one) => one.includes('database')));
    expect(await n(1).ok(['cluster', 'show', 'n2'])).toMatch(/^- database$/m);
    expect(await n(3).ok(['cluster', 'show', await leaderOf(n(3))])).toMatch(/^- database-leader$/m);
    expect(await n(3).ok(['cluster', 'show', 'n1'])).toContain(`architecture: ${process.arch === 'x64' ? 'x86_64' : 'aarch64'}`);
  });

  it('has its members described, grouped and configured from anywhere', async () => {
    covers('clustering_edit_roles', 'clustering_description', 'clustering_failure_domains', 'clustering_config', 'clustering_groups');
    const shown = await n(2).ok(['cluster', 'show', 'n3']);
    const edited = shown.replace('description: ""', 'description: third').replace('failure_domain: default', 'failure_domain: rack2');
    await n(2).ok(['cluster', 'edit', 'n3'], { input: edited.replace('roles:\n', 'roles:\n- event-hub\n') });
    expect(await n(1).ok(['cluster', 'show', 'n3'])).toMatch(/- event-hub\n[^]*failure_domain: rack2\ndescription: third/);
    expect((await n(1).lxc(['cluster', 'edit', 'n3'], { input: edited.replace(/- database\n/, '') })).stderr).toContain(
      'cannot be dropped at this time',
    );
    await n(1).ok(['cluster', 'set', 'n3', 'scheduler.instance', 'manual']);
    expect((await n(2).ok(['cluster', 'get', 'n3', 'scheduler.instance'])).trim()).toBe('manual');
    await n(1).ok(['cluster', 'unset', 'n3', 'scheduler.instance']);
    await n(3).ok(['cluster', 'group', 'create', 'fast']);
    await n(3).ok(['cluster', 'group', 'assign', 'n2', 'default,fast']);
    expect(await n(1).ok(['cluster', 'group', 'show', 'fast'])).toContain('- n2');
    expect((await n(1).lxc(['cluster', 'group', 'delete', 'fast'])).stderr).toContain('Only empty cluster groups can be removed');
    await n(1).ok(['cluster', 'rename', 'n3', 'third']);
    expect(await n(2).ok(['cluster', 'list', '--format', 'csv'])).toContain('third,https://');
    await n(2).ok(['cluster', 'rename', 'third', 'n3']);
  });

  it('keeps tokens for one use, one for a name, and lets them be seen and revoked from anywhere', async () => {
    const first = await tokenFor(n(1), 'n9');
    const second = await tokenFor(n(2), 'n9');
    expect(second).not.toBe(first);
    const listed = await n(3).ok(['cluster', 'list-tokens']);
    expect(listed).toContain(second);
    expect(listed).not.toContain(first);
    await n(3).ok(['cluster', 'revoke-token', 'n9']);
    expect(await n(1).ok(['cluster', 'list-tokens'])).not.toContain('n9');
    await using stranger = await Server.start();
    const join = (token: string): Promise<unknown> =>
      stranger.api.change('PUT', '/1.0/cluster', { enabled: true, server_name: 'n9', server_address: addressOf(stranger), cluster_token: token });
    await expect(join(second)).rejects.toThrow('No matching cluster join operation found');
    expect(await stranger.api.get('/1.0/cluster')).toMatchObject({ enabled: false });
    expect(await stranger.api.get<{ config: object }>('/1.0')).toMatchObject({ config: {} });
  }, 60_000);
});

describe('instances of a cluster', () => {
  it('are made where they are sent, and worked with from anywhere', async () => {
    for (const name of ['n1', 'n2', 'n3']) await n(1).ok(['launch', 'busybox', `on-${name}`, '--target', name], { timeoutMs: 90_000 });
    for (const server of servers) {
      expect((await server.ok(['list', '--format', 'csv', '-c', 'nsL'])).trim().split('\n')).toEqual([
        'on-n1,RUNNING,n1',
        'on-n2,RUNNING,n2',
        'on-n3,RUNNING,n3',
      ]);
    }
    expect(await n(2).lxc(['exec', 'on-n3', '--', 'sh', '-c', 'cat; echo err >&2; exit 7'], { input: 'through two members\n' })).toEqual({
      code: 7,
      stdout: 'through two members\n',
      stderr: 'err\n',
    });
    const file = join(n(1).dir, 'client/blob');
    writeFileSync(file, Buffer.alloc(3_000_000, 'muster'));
    await n(1).ok(['file', 'push', file, 'on-n2/root/blob']);
    expect(await n(3).ok(['exec', 'on-n2', '--', 'sha256sum', '/root/blob'])).toContain(
      createHash('sha256').update(Buffer.alloc(3_000_000, 'muster')).digest('hex'),
    );
    expect((await n(1).lxc(['init', 'busybox', 'x', '--target', 'nobody'])).stderr).toContain('Cluster member not found');
    await n(1).ok(['init', 'busybox', 'grouped', '--target', '@fast']);
    expect(await n(1).ok(['list', 'grouped', '--format', 'csv', '-c', 'L'])).toBe('n2\n');
    await n(3).ok(['delete', 'grouped']);
  }, 240_000);

  it('tell of themselves in the events and operations of every member', async () => {
    covers('event_location');
    const seen = n(2).lxc(['monitor', '--type', 'lifecycle', '--format', 'json'], { timeoutMs: 8_000 });
    await sleep(1_000);
    await n(1).ok(['restart', '-f', 'on-n3']);
    const { stdout } = await seen;
    expect(stdout.split('\n').some((line) => line.includes('instance-restarted') && line.includes('"location":"n3"'))).toBe(true);
    const operations = await n(1).api.get<Record<string, Operation[]>>('/1.0/operations?recursion=1');
    expect(
      Object.values(operations)
        .flat()
        .every(({ location }) => /^n[123]$/.test(location)),
    ).toBe(true);
  }, 60_000);

  it('say so when their member is gone, and are there again when it is back', async () => {
    await n(3).crash();
    await until('the list says it', async () => (await n(1).ok(['list', '--format', 'csv', '-c', 'ns'])).includes('on-n3,ERROR'), 10_000);
    const began = performance.now();
    expect((await n(2).api.get<unknown[]>('/1.0/instances?recursion=2')).length).toBe(3);
    expect(performance.now() - began).toBeLessThan(1_500);
    expect((await n(1).lxc(['exec', 'on-n3', '--', 'true'])).stderr).toContain('offline');
    expect(await n(1).ok(['cluster', 'show', 'n3'])).toMatch(/status: Offline\nmessage: No heartbeat for/);
    await n(3).boot();
    await allOnline(n(1), 3);
    expect(await n(1).ok(['exec', 'on-n3', '--', 'hostname'])).toBe('on-n3\n');
    for (const name of ['on-n1', 'on-n2', 'on-n3']) await n(1).ok(['delete', '-f', name]);
  }, 120_000);
});

describe('pools of a cluster', () => {
  it('are defined for each member first, then made by all; what one cannot do shows, and is no loss', async () => {
    const create = (...more: string[]): Promise<{ stderr: string; code: number }> => n(2).lxc(['storage', 'create', 'second', 'dir', ...more]);
    expect((await create()).stderr).toContain('Pool not pending on any node');
    for (const target of ['n1', 'n2']) expect((await create('--target', target)).code).toBe(0);
    expect((await create()).stderr).toContain('Pool not defined on nodes: n3');
    expect((await create('--target', 'n3', 'source=/no/such/place')).code).toBe(0);
    expect(await n(1).ok(['storage', 'show', 'second'])).toContain('status: Pending');
    expect((await create()).code).toBe(1);
    expect(await n(1).ok(['storage', 'show', 'second'])).toContain('status: Errored');
    await n(1).ok(['storage', 'delete', 'second']);
    for (const target of ['n1', 'n2', 'n3']) await n(3).ok(['storage', 'create', 'second', 'dir', '--target', target]);
    await n(3).ok(['storage', 'create', 'second', 'dir']);
    expect(await n(1).ok(['storage', 'show', 'second'])).toMatch(/config: {}\n[^]*status: Created\nlocations:\n- n1\n- n2\n- n3/);
    for (const [at, server] of servers.slice(0, 3).entries()) {
      expect(await n(1).ok(['storage', 'show', 'second', '--target', `n${at + 1}`])).toContain(`source: ${server.dir}/storage-pools/second`);
    }
    await n(1).ok(['storage', 'volume', 'create', 'second', 'v', '--target', 'n3']);
    expect(await n(2).ok(['storage', 'volume', 'show', 'second', 'v'])).toContain('location: n3');
    expect((await n(2).lxc(['storage', 'delete', 'second'])).stderr).toContain('in use');
    await n(2).ok(['storage', 'volume', 'delete', 'second', 'v']);
    await n(2).ok(['storage', 'delete', 'second']);
  }, 120_000);
});

describe('a cluster in trouble', () => {
  it('goes on when its leader is killed, through every member that is left', async () => {
    const leader = await leaderOf(n(1));
    const victim = servers[Number(leader.slice(1)) - 1]!;
    await victim.crash();
    const rest = servers.filter((server) => server !== victim);
    const made = await Promise.all(
      rest.map(async (server, at) => {
        const began = performance.now();
        await until('a write', () =>
          server.api.change('POST', '/1.0/profiles', { name: `after-${at}` }).then(
            () => true,
            () => false,
          ),
        );
        return performance.now() - began;
      }),
    );
    // Two seconds at most on a machine of its own; this one may be busy with other tests.
    expect(Math.max(...made)).toBeLessThan(10_000);
    await victim.boot();
    await allOnline(rest[0]!, 3);
    expect(await victim.ok(['profile', 'list', '--format', 'csv'])).toContain('after-1');
  }, 120_000);

  it('shows another certificate once it has been given one, to clients and among its members', async () => {
    covers('clustering_update_cert');
    const pair = await selfSigned('cluster');
    const [certificate, key] = [join(n(2).dir, 'client/new.crt'), join(n(2).dir, 'client/new.key')];
    writeFileSync(certificate, pair.certificate);
    writeFileSync(key, pair.key);
    await n(2).ok(['cluster', 'update-certificate', certificate, key]);
    for (const server of servers) {
      const { environment } = await server.api.get<{ environment: { certificate: string } }>('/1.0');
      expect(environment.certificate.trim()).toBe(pair.certificate.trim());
    }
    await n(3).api.change('POST', '/1.0/profiles', { name: 'with-the-new-certificate' });
    await allOnline(n(1), 3);
  }, 60_000);

  it('has as many voters and standbys as it is told to', async () => {
    covers('clustering_sizing');
    expect((await n(1).lxc(['config', 'set', 'cluster.max_voters', '2'])).stderr).toContain('odd number');
    servers.push(await Server.start());
    await joinByToken(n(4), n(1), 'n4');
    await until('a standby', async () => (await roles(n(2))).n4 === 'database-standby', 30_000);
    await n(1).ok(['config', 'set', 'cluster.max_standby', '0']);
    await until('a spare', async () => (await roles(n(2))).n4 === '', 30_000);
    await n(1).ok(['config', 'set', 'cluster.max_voters', '5']);
    await until('four voters', async () => (await roles(n(2))).n4 === 'database', 30_000);
  }, 120_000);

  it('lets a member go, which then stands alone', async () => {
    await n(1).ok(['init', 'busybox', 'stays', '--target', 'n4']);
    expect((await n(1).lxc(['cluster', 'remove', 'n4'])).stderr).toContain('Node still has the following instances: stays');
    await n(1).ok(['delete', 'stays']);
    await n(2).ok(['cluster', 'remove', 'n4'], { timeoutMs: 90_000 });
    expect((await members(n(1))).map(({ server_name }) => server_name)).toEqual(['n1', 'n2', 'n3']);
    await until('it stands alone', async () => !(await n(4).api.get<{ enabled: boolean }>('/1.0/cluster')).enabled);
    expect((await n(4).lxc(['cluster', 'list'])).stderr).toContain("isn't part of a cluster");
    await joinByToken(n(4), n(3), 'n4');
    await allOnline(n(1), 4);
  }, 120_000);
});
