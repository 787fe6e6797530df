import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { etagOf } from '#api-contract';
import { projectsState, setReferences, targetOf } from '#projects/state';
import { defineCommand, internalIdentity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import {
  createNetwork,
  deleteNetwork,
  network,
  networkEtag,
  networkOn,
  networks,
  networksState,
  networkStatus,
  renameNetwork,
  setNetworkStatus,
  updateNetwork,
} from './index.js';

const use = defineCommand<{ target: string }>({
  name: 'test.use',
  run: (ctx, { target }) => setReferences(ctx, { kind: 'profile', id: 9, url: '/1.0/profiles/p' }, [target]),
});
const by = { identity: internalIdentity };
const lxdbr0 = {
  project: 'default',
  name: 'lxdbr0',
  type: 'bridge',
  description: '',
  config: { 'ipv4.address': '10.77.0.1/24', 'bridge.external_interfaces': 'eth7', 'ipv6.address': '' },
  members: [1],
};

let replica: MemoryReplica;
beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [projectsState, networksState, { subject: 'test', entities: [], migrations: [], commands: [use] }] });
});
afterEach(() => replica.close());

describe('networks', () => {
  it('are pending until their members made them, with what is the member’s own apart', async () => {
    const { result } = await replica.submit(createNetwork, lxdbr0, by);
    const before = network(replica.reader, 'default', 'lxdbr0');
    expect(before.config).toEqual({ 'ipv4.address': '10.77.0.1/24' });
    expect(networkOn(before, 1)?.config).toMatchObject({ 'bridge.external_interfaces': 'eth7' });
    expect(networkOn(before, 2)).toBeUndefined();
    expect(networkStatus(before)).toBe('Pending');
    await replica.submit(setNetworkStatus, { id: result.id, member: 1, status: 'Created' }, by);
    expect(networkStatus(network(replica.reader, 'default', 'lxdbr0'))).toBe('Created');
  });

  it('refuse what cannot be', async () => {
    await replica.submit(createNetwork, lxdbr0, by);
    const create = (change: Partial<typeof lxdbr0>) => replica.submit(createNetwork, { ...lxdbr0, name: 'br1', config: {} as never, ...change }, by);
    await expect(create({ name: 'lxdbr0' })).rejects.toThrow('The network already exists');
    await expect(create({ name: 'way-too-long-a-name' })).rejects.toThrow('Network interface is too long (maximum 15 characters)');
    await expect(create({ name: '../x' })).rejects.toThrow('invalid characters');
    await expect(create({ type: 'ovn' })).rejects.toThrow('not supported');
    await expect(create({ project: 'p' })).rejects.toThrow('Network type does not support non-default projects');
    await expect(create({ config: { 'ipv4.address': '10.77.0.1/24' } as never })).rejects.toThrow('used by network "lxdbr0"');
    expect(networks(replica.reader)).toHaveLength(1);
  });

  it('let only one of two writers win', async () => {
    await replica.submit(createNetwork, lxdbr0, by);
    const record = network(replica.reader, 'default', 'lxdbr0');
    const ifMatch = etagOf(networkEtag({ ...record, config: networkOn(record, 1)!.config }));
    const update = (description: string) =>
      replica.submit(updateNetwork, { project: 'default', name: 'lxdbr0', put: { description, config: record.config }, ifMatch, member: 1 }, by);
    await update('first');
    await expect(update('second')).rejects.toMatchObject({ kind: 'changed' });
    expect(network(replica.reader, 'default', 'lxdbr0').description).toBe('first');
  });

  it('are neither deleted nor renamed while somebody uses them', async () => {
    await replica.submit(createNetwork, lxdbr0, by);
    await replica.submit(use, { target: targetOf('network', 'default', 'lxdbr0') }, by);
    await expect(replica.submit(deleteNetwork, { project: 'default', name: 'lxdbr0' }, by)).rejects.toThrow('The network is currently in use');
    await expect(replica.submit(renameNetwork, { project: 'default', name: 'lxdbr0', newName: 'br1' }, by)).rejects.toThrow(
      'Network is currently in use',
    );
    await replica.submit(use, { target: targetOf('network', 'default', 'other') }, by);
    await replica.submit(renameNetwork, { project: 'default', name: 'lxdbr0', newName: 'br1' }, by);
    await replica.submit(deleteNetwork, { project: 'default', name: 'br1' }, by);
    expect(networks(replica.reader)).toEqual([]);
    await expect(replica.submit(deleteNetwork, { project: 'default', name: 'br1' }, by)).rejects.toMatchObject({ kind: 'notFound' });
  });
});
