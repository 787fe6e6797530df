import { beforeEach, describe, expect, it } from 'vitest';
import { etagOf } from '#api-contract';
import { imagesState } from '#images/state';
import { networksState } from '#networks/state';
import { profile, profilesState, updateProfile } from '#profiles/state';
import { createProject, projectsState, targetOf, updateProject, usedBy } from '#projects/state';
import { internalIdentity as identity } from '#replica/state';
import { createVolume, definePool, findVolume, poolMade, storageState } from '#storage/state';
import { MemoryReplica } from '#testkit';
import * as state from './index.js';

let replica: MemoryReplica;
const as = { identity };
const root = { root: { type: 'disk', path: '/', pool: 'local' } };
const c1 = { pool: 'local', project: 'default', type: 'container' as const, name: 'c1' };

const create = (more: Partial<state.NewInstance> = {}) =>
  replica.submit(
    state.createInstance,
    {
      project: 'default',
      name: 'c1',
      memberId: 1,
      type: 'container',
      architecture: 'x86_64',
      description: '',
      ephemeral: false,
      config: {},
      devices: root,
      profiles: ['default'],
      ...more,
    },
    as,
  );
const update = (put: Partial<state.InstanceChange>, more: { ifMatch?: string; byUser?: boolean } = {}) => {
  const { architecture, description, ephemeral, config, devices, profiles } = state.instance(replica.reader, 'default', 'c1');
  return replica.submit(
    state.updateInstance,
    { project: 'default', name: 'c1', byUser: true, put: { architecture, description, ephemeral, config, devices, profiles, ...put }, ...more },
    as,
  );
};

beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [projectsState, profilesState, networksState, storageState, imagesState, state.instancesState] });
  await replica.submit(definePool, { name: 'local', driver: 'dir', description: '', config: {}, memberId: 1 }, as);
  await replica.submit(poolMade, { name: 'local', memberId: 1, config: {} }, as);
});

describe('an instance', () => {
  it('comes with its volume and goes with it', async () => {
    const { result } = await create();
    expect(findVolume(replica.reader, c1, 1)).toMatchObject({ name: 'c1', contentType: 'filesystem' });
    expect(usedBy(replica.reader, targetOf('pool', 'local'))).toEqual(['/1.0/instances/c1']);
    expect(usedBy(replica.reader, targetOf('profile', 'default', 'default'))).toEqual(['/1.0/instances/c1']);
    expect(state.instance(replica.reader, 'default', 'c1')).toMatchObject({ status: 102, profiles: ['default'], lastUsedAt: '' });
    await replica.submit(state.deleteInstance, { id: result.id }, as);
    expect(findVolume(replica.reader, c1, 1)).toBeUndefined();
    expect(usedBy(replica.reader, targetOf('pool', 'local'))).toEqual([]);
    expect(replica.reader.all('SELECT * FROM instance_profiles')).toEqual([]);
  });

  it('is refused with the words that LXD uses', async () => {
    await create();
    await expect(create()).rejects.toThrow('Add instance info to the database: This "instances" entry already exists');
    await expect(create({ name: 'bad name!' })).rejects.toThrow('Invalid instance name: Name can only contain alphanumeric and hyphen characters');
    await expect(create({ name: 'c2', config: { 'nope.key': '1' } })).rejects.toThrow('Invalid config: Unknown configuration key: nope.key');
    await expect(create({ name: 'c2', devices: {} })).rejects.toThrow('Failed getting root disk: No root device could be found');
    await expect(create({ name: 'c2', profiles: ['nope'] })).rejects.toThrow('Requested profile "nope" doesn\'t exist');
    await expect(create({ name: 'c2', devices: { ...root, d: { type: 'zorg' } } })).rejects.toThrow(
      'Invalid devices: Device validation failed for "d": Failed loading device "d": Unsupported device type',
    );
    await expect(create({ name: 'c2', config: { 'user.x': 'x'.repeat(300_000) } })).rejects.toMatchObject({ kind: 'tooLarge' });
    expect(state.instances(replica.reader).map(({ name }) => name)).toEqual(['c1']);
  });

  it('has in force what its profiles give, its own over it', async () => {
    await replica.submit(
      updateProfile,
      { project: 'default', name: 'default', put: { description: '', config: { 'limits.cpu': '2', 'user.a': 'p' }, devices: root } },
      as,
    );
    await create({ devices: {}, config: { 'user.a': 'own' } });
    expect(state.instance(replica.reader, 'default', 'c1')).toMatchObject({
      config: { 'user.a': 'own' },
      devices: {},
      expandedConfig: { 'limits.cpu': '2', 'user.a': 'own' },
      expandedDevices: root,
    });
  });

  it('lets only one of two writers with the same ETag win, and a changed profile invalidates it', async () => {
    await create();
    const tag = () => etagOf(state.instanceEtag(state.instance(replica.reader, 'default', 'c1')));
    const before = tag();
    const outcomes = await Promise.allSettled([
      update({ config: { 'user.a': '1' } }, { ifMatch: before }),
      update({ config: { 'user.a': '2' } }, { ifMatch: before }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    const now = tag();
    const { description, devices } = profile(replica.reader, 'default', 'default');
    await replica.submit(updateProfile, { project: 'default', name: 'default', put: { description, devices, config: { 'user.b': 'x' } } }, as);
    expect(tag()).not.toBe(now);
  });

  it('keeps its pool and its id map keys', async () => {
    await create({ config: { 'volatile.idmap.next': '[]' } });
    await expect(update({ config: {} })).rejects.toThrow("Volatile idmap keys can't be deleted by the user");
    await replica.submit(definePool, { name: 'other', driver: 'dir', description: '', config: {}, memberId: 1 }, as);
    await replica.submit(poolMade, { name: 'other', memberId: 1, config: {} }, as);
    await expect(update({ devices: { root: { ...root.root, pool: 'other' } } })).rejects.toThrow(
      'Cannot update root disk device pool name to "other"',
    );
    await expect(update({ devices: { root: { ...root.root, pool: 'none' } } })).rejects.toThrow('Cannot update root disk device pool name to "none"');
  });

  it('is renamed with its volume and what refers to it', async () => {
    await create();
    await replica.submit(state.renameInstance, { project: 'default', name: 'c1', newName: 'c2' }, as);
    expect(usedBy(replica.reader, targetOf('pool', 'local'))).toEqual(['/1.0/instances/c2']);
    expect(findVolume(replica.reader, { ...c1, name: 'c2' }, 1)).toBeDefined();
  });

  it('drops what an earlier owner still says', async () => {
    const { result } = await create();
    await replica.submit(
      state.recordInstance,
      { id: result.id, epoch: 0, status: 103, volatile: { 'volatile.last_state.power': 'RUNNING' }, used: true },
      as,
    );
    expect(state.instance(replica.reader, 'default', 'c1')).toMatchObject({ status: 103, config: { 'volatile.last_state.power': 'RUNNING' } });
    await replica.submit(state.recordInstance, { id: result.id, epoch: 7, status: 102 }, as);
    expect(state.instance(replica.reader, 'default', 'c1').status).toBe(103);
    await replica.submit(state.recordInstance, { id: result.id, epoch: 0, volatile: { 'volatile.last_state.power': '' } }, as);
    expect(state.instance(replica.reader, 'default', 'c1').config).toEqual({});
  });
});

describe('the limits of a project', () => {
  const limited = async (config: Record<string, string>): Promise<void> => {
    await replica.submit(createProject, { name: 'p', description: '', config: {} }, as);
    await replica.submit(updateProject, { name: 'p', put: { description: '', config } }, as);
  };
  it('hold for two creates at once', async () => {
    await limited({ 'limits.instances': '1' });
    const outcomes = await Promise.allSettled([create({ project: 'p', name: 'a' }), create({ project: 'p', name: 'b' })]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect((outcomes[1] as PromiseRejectedResult).reason.message).toBe('Reached maximum number of instances in project "p"');
    expect(findVolume(replica.reader, { ...c1, project: 'p', name: 'b' }, 1)).toBeUndefined();
  });
  it('add up what instances take', async () => {
    await limited({ 'limits.memory': '1GiB' });
    await expect(create({ project: 'p', name: 'a' })).rejects.toThrow('has no "limits.memory" config, either directly or via a profile');
    await create({ project: 'p', name: 'a', config: { 'limits.memory': '600MiB' } });
    await expect(create({ project: 'p', name: 'b', config: { 'limits.memory': '600MiB' } })).rejects.toThrow(
      'Reached maximum aggregate value "1GiB" for "limits.memory" in project "p"',
    );
  });
  const setLimits = (config: Record<string, string>) => replica.submit(updateProject, { name: 'p', put: { description: '', config } }, as);
  it('cannot be set below what is in use, nor where something does not say what it takes', async () => {
    await limited({});
    for (const name of ['a', 'b']) await create({ project: 'p', name });
    await expect(setLimits({ 'limits.containers': '1' })).rejects.toThrow('Reached maximum number');
    await expect(setLimits({ 'limits.memory': '1GiB' })).rejects.toThrow('has no "limits.memory" config');
    await setLimits({ 'limits.containers': '2' });
  });
  it('hold for what a profile gives', async () => {
    await limited({});
    const profile = (memory: string) =>
      replica.submit(
        updateProfile,
        { project: 'default', name: 'default', put: { description: '', config: { 'limits.memory': memory }, devices: root } },
        as,
      );
    await profile('1GiB');
    await create({ project: 'p', name: 'a' });
    await setLimits({ 'limits.memory': '2GiB' });
    await profile('2GiB');
    await expect(profile('3GiB')).rejects.toThrow('Reached maximum aggregate value');
    await expect(profile('10%')).rejects.toThrow('percentage');
  });
  it('hold for custom volumes', async () => {
    await limited({});
    const volume = { pool: 'local', project: 'p', type: 'custom' as const, name: 'v', memberId: 1 };
    await setLimits({ 'limits.disk': '100MiB' });
    await expect(replica.submit(createVolume, volume, as)).rejects.toThrow('Custom volume "v" in project "p" has no "size" config set');
    await replica.submit(createVolume, { ...volume, config: { size: '60MiB' } }, as);
    await expect(replica.submit(createVolume, { ...volume, name: 'w', config: { size: '60MiB' } }, as)).rejects.toThrow('"limits.disk"');
  });
});

describe('a snapshot', () => {
  const named = { project: 'default', instance: 'c1', name: 'snap0' };
  it('keeps the instance as it was, is renamed and deleted with its volume', async () => {
    await create({ config: { 'user.a': '1' } });
    await replica.submit(state.createSnapshot, { ...named, expiresAt: '', stateful: false }, as);
    await update({ config: { 'user.a': '2' } });
    const { id } = state.instance(replica.reader, 'default', 'c1');
    expect(state.snapshot(replica.reader, id, 'snap0').config).toEqual({ 'user.a': '1' });
    await expect(replica.submit(state.createSnapshot, { ...named, expiresAt: '', stateful: false }, as)).rejects.toThrow('already exists');
    await replica.submit(state.renameSnapshot, { ...named, newName: 's1' }, as);
    expect(replica.reader.all('SELECT name FROM storage_volume_snapshots')).toEqual([{ name: 's1' }]);
    await replica.submit(state.deleteSnapshot, { ...named, name: 's1' }, as);
    expect(replica.reader.all('SELECT * FROM storage_volume_snapshots')).toEqual([]);
    await expect(replica.submit(state.createSnapshot, { ...named, name: 'a b', expiresAt: '', stateful: false }, as)).rejects.toThrow(
      'Invalid instance snapshot name: Cannot contain space or / characters',
    );
  });
});
