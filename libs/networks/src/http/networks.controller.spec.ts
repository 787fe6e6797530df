import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clusterState } from '#cluster/state';
import type { Network } from '#api-contract';
import type { ApiRequest, Caller, Reply } from '#http-kit';
import { fault, silent, systemClock } from '#kit';
import { DirectMembers, type HostContext } from '#members';
import { createProject, projectsState, setReferences, targetOf } from '#projects/state';
import { defineCommand, internalIdentity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import { MemoryNetworkDriver, NetworksAgent } from '../host/index.js';
import { networksState } from '../state/index.js';
import { NetworksController } from './networks.controller.js';

const use = defineCommand<{ targets: string[] }>({
  name: 'test.use',
  run: (ctx, { targets }) => setReferences(ctx, { kind: 'profile', id: 9, url: '/1.0/profiles/p' }, targets),
});
const admin: Caller = { identity: internalIdentity, trusted: true, admin: true, local: true };
const restricted: Caller = { ...admin, admin: false, projects: ['p'] };

let replica: MemoryReplica;
let driver: MemoryNetworkDriver;
let agent: NetworksAgent;
let controller: NetworksController;

beforeEach(async () => {
  replica = await MemoryReplica.open({
    wings: [projectsState, clusterState, networksState, { subject: 'test', entities: [], migrations: [], commands: [use] }],
  });
  const members = new DirectMembers({ checked: true, memberName: () => 'none' });
  const server = { stateDir: '/nowhere', memberName: () => 'none', memberId: 1, fingerprint: () => 'f' } as HostContext['server'];
  driver = new MemoryNetworkDriver();
  const context = {
    replica,
    members,
    server,
    clock: systemClock,
    log: silent,
    naming: { hash: 'abc123', nftTable: 't', lxc: () => '' },
  } as unknown as HostContext;
  agent = new NetworksAgent(context, { drivers: { bridge: driver } });
  await agent.start();
  controller = new NetworksController(replica, members, server);
});
afterEach(async () => {
  agent.release();
  await replica.close();
});

function request(change: Partial<ApiRequest> & { name?: string } = {}): ApiRequest {
  return {
    caller: admin,
    requestId: 'r',
    method: 'GET',
    path: '',
    params: { name: change.name ?? 'br0' },
    query: new URLSearchParams(),
    headers: {},
    project: 'default',
    allProjects: false,
    recursion: 0,
    filter: '',
    target: '',
    dryRun: false,
    body: {},
    stream: Readable.from([]),
    signal: new AbortController().signal,
    ...change,
  };
}
const metadata = (reply: Reply): unknown => (reply.kind === 'sync' ? reply.metadata : reply);
const show = async (name = 'br0'): Promise<Network> => metadata(await controller.read(request({ name }))) as Network;
const fixed = { 'ipv4.address': '10.77.0.1/24', 'ipv6.address': 'none' };
const create = (body: object = { name: 'br0', config: fixed }): Promise<Reply> => controller.create(request({ body }));

describe('NetworksController', () => {
  it('creates a network, makes it, and shows it as LXD does', async () => {
    expect(await create()).toEqual({ kind: 'created', location: '/1.0/networks/br0' });
    expect(driver.up.size).toBe(1);
    expect(await show()).toEqual({
      config: fixed,
      description: '',
      name: 'br0',
      type: 'bridge',
      used_by: [],
      managed: true,
      status: 'Created',
      locations: ['none'],
    });
    expect(metadata(await controller.leases(request()))).toEqual([
      { hostname: 'br0.gw', hwaddr: '', address: '10.77.0.1', type: 'gateway', location: '' },
    ]);
  });

  it('picks free addresses where none are given', async () => {
    await create({ name: 'br0' });
    const { config } = await show();
    expect(config['ipv4.address']).toMatch(/^10\.\d+\.\d+\.1\/24$/);
    expect(config['ipv4.nat']).toBe('true');
  });

  it('lists host interfaces after managed networks, in the default project only', async () => {
    await create();
    await replica.submit(createProject, { name: 'p', description: '', config: { 'features.networks': 'true' } }, { identity: internalIdentity });
    expect((metadata(await controller.list(request())) as string[]).slice(0, 1)).toEqual(['/1.0/networks/br0']);
    expect(metadata(await controller.list(request()))).toContain('/1.0/networks/lo');
    expect(metadata(await controller.list(request({ project: 'p' })))).toEqual([]);
    expect(await show('lo')).toMatchObject({ type: 'loopback', managed: false, used_by: [], status: '', locations: null });
    await expect(show('nope')).rejects.toMatchObject({ kind: 'notFound', message: 'Network not found' });
    expect(metadata(await controller.state(request({ name: 'lo' })))).toMatchObject({
      type: 'loopback',
      bridge: null,
      bond: null,
      vlan: null,
      ovn: null,
    });
  });

  it('leaves nothing behind when the host cannot make it', async () => {
    driver.failure = fault.internal('no');
    await expect(create()).rejects.toThrow('no');
    await expect(show()).rejects.toThrow('Network not found');
    driver.foreign.add('br0');
    await expect(create()).rejects.toThrow('Network interface "br0" already exists');
    expect(driver.up.size).toBe(0);
  });

  it('says what is wrong with a body', async () => {
    await expect(create({})).rejects.toThrow('No name provided');
    await expect(create({ name: 'br0', config: { a: 1 } })).rejects.toThrow('config.a must be a string');
    await expect(create({ name: 'br0', config: { zorg: '1' } })).rejects.toThrow('Invalid option for network "br0" option "zorg"');
    await create();
    await expect(create()).rejects.toThrow('The network already exists');
  });

  it('merges a patch, replaces by put, and checks If-Match', async () => {
    await create();
    const read = await controller.read(request());
    const ifMatch = read.kind === 'sync' ? read.etag : undefined;
    await controller.patch(request({ body: { config: { 'dns.domain': 'blah' } }, ifMatch }));
    expect(driver.up.values().next().value?.config).toEqual({ ...fixed, 'dns.domain': 'blah' });
    await expect(controller.patch(request({ body: { config: {} }, ifMatch }))).rejects.toMatchObject({ kind: 'changed' });
    await controller.replace(request({ body: { description: 'x', config: fixed } }));
    expect(await show()).toMatchObject({ description: 'x', config: fixed });
    await controller.patch(request({ body: { config: { 'ipv4.address': '' } } }));
    expect((await show()).config).toEqual({ 'ipv6.address': 'none' });
  });

  it('goes back to the old config when the host refuses the new one', async () => {
    await create();
    driver.failure = fault.internal('no');
    await expect(controller.patch(request({ body: { config: { 'bridge.mtu': '1400' } } }))).rejects.toThrow('no');
    expect((await show()).config).toEqual(fixed);
    expect([...driver.up.values()][0]?.config).toEqual(fixed);
  });

  it('renames and deletes what nobody uses', async () => {
    await create();
    await replica.submit(use, { targets: [targetOf('network', 'default', 'br0')] }, { identity: internalIdentity });
    expect((await show()).used_by).toEqual(['/1.0/profiles/p']);
    await expect(controller.remove(request())).rejects.toThrow('The network is currently in use');
    await expect(controller.rename(request({ body: { name: 'br1' } }))).rejects.toThrow('Network is currently in use');
    await replica.submit(use, { targets: [] }, { identity: internalIdentity });
    expect(await controller.rename(request({ body: { name: 'br1' } }))).toEqual({ kind: 'created', location: '/1.0/networks/br1' });
    await controller.remove(request({ name: 'br1' }));
    expect(driver.up.size).toBe(0);
  });

  it('changes nothing on a dry run', async () => {
    expect(await controller.create(request({ body: { name: 'br0', config: fixed }, dryRun: true }))).toMatchObject({ kind: 'dryRun' });
    await expect(show()).rejects.toThrow('Network not found');
    expect(driver.up.size).toBe(0);
  });

  it('shows a restricted caller neither config nor a way to change what its project only shares', async () => {
    await create();
    await replica.submit(createProject, { name: 'p', description: '', config: {} }, { identity: internalIdentity });
    const by = { caller: restricted, project: 'p' };
    expect(metadata(await controller.read(request(by)))).toMatchObject({ name: 'br0', config: {} });
    for (const call of [
      controller.remove(request(by)),
      controller.patch(request(by)),
      controller.rename(request({ ...by, body: { name: 'x2' } })),
      controller.create(request({ ...by, body: { name: 'br5' } })),
    ])
      await expect(call).rejects.toMatchObject({ kind: 'forbidden' });
  });

  it('brings up what a restart finds in the database, and sweeps what it does not', async () => {
    await create();
    const [network] = [...driver.up.values()];
    driver.up.clear();
    driver.up.set(99, { ...network!, id: 99, name: 'old' });
    agent.release();
    const again = new NetworksAgent(
      {
        replica,
        members: new DirectMembers({ checked: true, memberName: () => 'none' }),
        server: { memberId: 1 },
        log: silent,
      } as unknown as HostContext,
      { drivers: { bridge: driver } },
    );
    await again.start();
    again.release();
    expect([...driver.up.values()].map(({ name }) => name)).toEqual(['br0']);
  });
});
