import { beforeEach, describe, expect, it } from 'vitest';
import { identitiesState } from '#identities/state';
import { imagesState } from '#images/state';
import { createInstance, deleteInstance, findInstance, instance, instancesState, rootVolume, snapshots } from '#instances/state';
import { networksState } from '#networks/state';
import { profilesState } from '#profiles/state';
import { createProject, projectsState } from '#projects/state';
import { internalIdentity as identity } from '#replica/state';
import { createVolume, definePool, deleteVolume, findVolume, poolMade, storageState, volume, volumeSnapshots } from '#storage/state';
import { MemoryReplica } from '#testkit';
import * as state from './index.js';

let replica: MemoryReplica;
const as = { identity };
const memberId = 1;
const submit: MemoryReplica['submit'] = (...args) => replica.submit(...args);
const root = (pool: string) => ({ root: { type: 'disk', path: '/', pool } });
const snapshot = (name: string) => ({
  name,
  description: '',
  ephemeral: false,
  config: {},
  devices: root('local'),
  createdAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '',
});

beforeEach(async () => {
  replica = await MemoryReplica.open({
    wings: [identitiesState, projectsState, profilesState, networksState, storageState, imagesState, instancesState, state.transferState],
  });
  for (const name of ['local', 'other']) {
    await submit(definePool, { name, driver: 'dir', description: '', config: {}, memberId }, as);
    await submit(poolMade, { name, memberId, config: {} }, as);
  }
  await submit(
    createInstance,
    {
      project: 'default',
      name: 'c1',
      memberId,
      type: 'container',
      architecture: 'x86_64',
      description: '',
      ephemeral: false,
      config: { 'volatile.uuid': '6b1a8d3e-0f4c-4b6e-9c39-0a3f6a2b7c11' },
      devices: root('local'),
      profiles: ['default'],
      snapshots: [snapshot('snap0'), snapshot('snap1')],
    },
    as,
  );
});

const c1 = () => instance(replica.reader, 'default', 'c1');
const backup = (name: string, more: Partial<state.NewBackup> = {}) =>
  submit(state.createBackup, { kind: 'instance', ownerId: c1().id, name, expiresAt: '', only: false, optimized: false, ...more }, as);

describe('backups', () => {
  it('are found by their name, in the order in which they were made', async () => {
    await backup('b2');
    await backup('b1', { expiresAt: '2026-01-01T00:00:00Z', only: true });
    const { id } = c1();
    expect(state.backups(replica.reader, 'instance', id).map(({ name, only }) => [name, only])).toEqual([
      ['b2', false],
      ['b1', true],
    ]);
    await expect(backup('b1')).rejects.toMatchObject({ kind: 'conflict' });
    for (const name of ['', '..', 'a/b']) await expect(backup(name)).rejects.toMatchObject({ kind: 'invalid' });
    expect(() => state.backup(replica.reader, 'instance', id, 'b3')).toThrow('Instance backup not found');
    expect(state.backupsOn(replica.reader, memberId, new Date('2026-02-01')).map(({ name, owner }) => [name, owner])).toEqual([['b1', 'c1']]);
  });

  it('are renamed, and go with what they are of', async () => {
    const { id } = (await backup('b1')).result;
    await submit(state.renameBackup, { kind: 'instance', id, newName: 'b2' }, as);
    expect(state.backupsOn(replica.reader, memberId)).toMatchObject([{ name: 'b2', project: 'default', owner: 'c1', pool: '' }]);
    await submit(deleteInstance, { id: c1().id }, as);
    expect(state.backupsOn(replica.reader, memberId)).toEqual([]);
    const v1 = { pool: 'local', project: 'default', type: 'custom' as const, name: 'v1' };
    await submit(createVolume, { ...v1, memberId }, as);
    const volumeId = volume(replica.reader, v1).id;
    await submit(state.createBackup, { kind: 'volume', ownerId: volumeId, name: 'b1', expiresAt: '', only: false, optimized: true }, as);
    expect(state.backupsOn(replica.reader, memberId)).toMatchObject([{ kind: 'volume', owner: 'v1', pool: 'local', optimized: true }]);
    await submit(deleteVolume, { volume: v1, memberId }, as);
    expect(state.backupsOn(replica.reader, memberId)).toEqual([]);
  });
});

describe('a move', () => {
  const moved = (to: { project: string; name: string }, pool: string, instanceOnly = false) =>
    submit(
      state.moveInstance,
      {
        id: c1().id,
        to,
        devices: root(pool),
        config: c1().config,
        profiles: ['default'],
        snapshotDevices: instanceOnly ? {} : { snap0: root(pool), snap1: root(pool) },
        instanceOnly,
      },
      as,
    );

  it('changes the pool, and keeps everything else', async () => {
    const before = c1();
    await moved({ project: 'default', name: 'c1' }, 'other');
    const after = c1();
    expect(after).toMatchObject({ id: before.id, config: before.config, createdAt: before.createdAt });
    expect(rootVolume(after).pool).toBe('other');
    expect(findVolume(replica.reader, rootVolume(before), memberId)).toBeUndefined();
    expect(volumeSnapshots(replica.reader, volume(replica.reader, rootVolume(after)).id).map(({ name }) => name)).toEqual(['snap0', 'snap1']);
    expect(snapshots(replica.reader, after.id).map(({ devices }) => devices['root']!['pool'])).toEqual(['other', 'other']);
  });

  it('changes the project and the name, or leaves the snapshots behind', async () => {
    await submit(createProject, { name: 'p', description: '', config: {} }, as);
    const { id } = c1();
    await moved({ project: 'p', name: 'c2' }, 'local', true);
    expect(findInstance(replica.reader, 'default', 'c1')).toBeUndefined();
    const after = instance(replica.reader, 'p', 'c2');
    expect(after.id).toBe(id);
    expect(snapshots(replica.reader, id)).toEqual([]);
    expect(volume(replica.reader, rootVolume(after)).project).toBe('p');
  });

  it('is refused for a place that is taken, and changes nothing', async () => {
    await submit(createVolume, { pool: 'other', project: 'default', type: 'container', name: 'c1', memberId }, as);
    await expect(moved({ project: 'default', name: 'c1' }, 'other')).rejects.toMatchObject({ kind: 'conflict' });
    expect(rootVolume(c1()).pool).toBe('local');
    expect(snapshots(replica.reader, c1().id)).toHaveLength(2);
  });
});
