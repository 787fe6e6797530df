import { beforeEach, describe, expect, it } from 'vitest';
import { etagOf } from '#api-contract';
import { createProject, projectsState, setReferences, targetOf, usedBy } from '#projects/state';
import { defineCommand, internalIdentity as identity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import type { VolumeRef } from '../model/index.js';
import * as state from './index.js';

let replica: MemoryReplica;
const as = { identity };
const memberId = 1;
const submit: MemoryReplica['submit'] = (...args) => replica.submit(...args);
const v1: VolumeRef = { pool: 'local', project: 'default', type: 'custom', name: 'v1' };

async function makePool(name: string, driver = 'dir', config: Record<string, string> = {}): Promise<void> {
  await submit(state.definePool, { name, driver, description: '', config, memberId }, as);
  await submit(state.poolMade, { name, memberId, config: { ...config, source: `/srv/${name}` } }, as);
}

beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [projectsState, state.storageState] });
});

describe('storage pools', () => {
  it('keep the keys of a member apart from those of the cluster', async () => {
    await makePool('local', 'btrfs', { size: '1GiB', 'btrfs.mount_options': 'noatime' });
    const record = state.pool(replica.reader, 'local');
    expect(record.config).toEqual({ 'btrfs.mount_options': 'noatime' });
    expect(state.configOn(record, memberId)).toEqual({ size: '1GiB', source: '/srv/local', 'btrfs.mount_options': 'noatime' });
  });

  it('refuse a second one of the same name, unknown drivers, keys and names that leave their place', async () => {
    await makePool('local');
    const define = (name: string, driver = 'dir', config: Record<string, string> = {}) =>
      submit(state.definePool, { name, driver, description: '', config, memberId }, as);
    await expect(define('local')).rejects.toMatchObject({ kind: 'conflict', message: 'The storage pool already exists: The record already exists' });
    await expect(define('x', 'floppy')).rejects.toMatchObject({ kind: 'invalid' });
    await expect(define('x', 'dir', { 'zfs.clone_copy': 'true' })).rejects.toThrow('Invalid option "zfs.clone_copy"');
    await expect(define('x', 'btrfs', { size: 'large' })).rejects.toThrow('Invalid value for option "size"');
    for (const name of ['', '..', 'a/b', 'a b', '-o']) await expect(define(name)).rejects.toMatchObject({ kind: 'invalid' });
  });

  it('take no volume before they are made, nor once they are being removed', async () => {
    await submit(state.definePool, { name: 'local', driver: 'dir', description: '', config: {}, memberId }, as);
    await expect(submit(state.createVolume, { ...v1, memberId }, as)).rejects.toThrow('not fully created');
    await submit(state.poolMade, { name: 'local', memberId, config: {} }, as);
    await submit(state.beginPoolRemoval, { name: 'local' }, as);
    await expect(submit(state.createVolume, { ...v1, memberId }, as)).rejects.toThrow('not fully created');
    await submit(state.forgetPool, { name: 'local' }, as);
    expect(state.pools(replica.reader)).toEqual([]);
  });

  it('cannot be removed while used, but image volumes go with them', async () => {
    await makePool('local');
    await submit(state.recordImageVolume, { pool: 'local', fingerprint: 'ab12', memberId }, as);
    await submit(state.recordImageVolume, { pool: 'local', fingerprint: 'ab12', memberId }, as);
    await submit(state.createVolume, { ...v1, memberId }, as);
    await expect(submit(state.beginPoolRemoval, { name: 'local' }, as)).rejects.toThrow('The storage pool is currently in use');
    await submit(state.deleteVolume, { volume: v1, memberId }, as);
    await submit(state.beginPoolRemoval, { name: 'local' }, as);
    await submit(state.forgetPool, { name: 'local' }, as);
    expect(replica.reader.all('SELECT * FROM storage_volumes')).toEqual([]);
  });

  it('do not let their source be changed', async () => {
    await makePool('local');
    const put = (config: Record<string, string>, ifMatch?: string) =>
      submit(state.updatePool, { name: 'local', put: { description: 'd', config }, memberId, ifMatch }, as);
    await expect(put({ source: '/elsewhere' })).rejects.toThrow('Pool source cannot be changed');
    const tag = etagOf(state.poolEtag(state.pool(replica.reader, 'local'), { source: '/srv/local' }));
    await put({ source: '/srv/local', 'user.a': 'b' }, tag);
    await expect(put({ source: '/srv/local' }, tag)).rejects.toMatchObject({ kind: 'changed' });
  });
});

describe('volumes', () => {
  beforeEach(() => makePool('local', 'dir', { 'volume.size': '1GiB', 'volume.snapshots.expiry': '1d' }));

  it('get what the pool gives as volume.*, where they say nothing themselves', async () => {
    await submit(state.createVolume, { ...v1, memberId, config: { 'snapshots.expiry': '2d' } }, as);
    expect(state.volume(replica.reader, v1).config).toEqual({ size: '1GiB', 'snapshots.expiry': '2d' });
  });

  it('refuse a name that is taken, with 409, but not in another project', async () => {
    await submit(state.createVolume, { ...v1, memberId }, as);
    await expect(submit(state.createVolume, { ...v1, memberId }, as)).rejects.toMatchObject({
      kind: 'conflict',
      message: 'Volume by that name already exists',
    });
    await submit(createProject, { name: 'p', description: '', config: { 'features.storage.volumes': 'true' } }, as);
    await submit(state.createVolume, { ...v1, project: 'p', memberId }, as);
    expect(usedBy(replica.reader, targetOf('project', 'p'))).toEqual(['/1.0/storage-pools/local/volumes/custom/v1?project=p']);
  });

  it('go with their snapshots, and are gone from used_by', async () => {
    await submit(state.createVolume, { ...v1, memberId }, as);
    await submit(state.createSnapshot, { volume: v1, memberId, name: 'snap0', expiresAt: '' }, as);
    expect(state.poolUsedBy(replica.reader, state.pool(replica.reader, 'local'))).toEqual([
      '/1.0/storage-pools/local/volumes/custom/v1',
      '/1.0/storage-pools/local/volumes/custom/v1/snapshots/snap0',
    ]);
    await submit(state.deleteVolume, { volume: v1, memberId }, as);
    expect(replica.reader.all('SELECT * FROM storage_volume_snapshots')).toEqual([]);
    expect(usedBy(replica.reader, targetOf('project', 'default')).filter((url) => url.includes('volumes'))).toEqual([]);
  });

  it('let only one of two writers with the same ETag win', async () => {
    await submit(state.createVolume, { ...v1, memberId }, as);
    const ifMatch = etagOf(state.volumeEtag(state.volume(replica.reader, v1)));
    const change = (value: string) =>
      submit(state.changeVolume, { volume: v1, memberId, put: { description: '', config: { 'user.x': value } }, ifMatch }, as);
    const outcomes = await Promise.allSettled([change('1'), change('2')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('number snapshots on from the highest', async () => {
    await submit(state.createVolume, { ...v1, memberId }, as);
    const { id } = state.volume(replica.reader, v1);
    expect(state.nextSnapshotName(replica.reader, id)).toBe('snap0');
    await submit(state.createSnapshot, { volume: v1, memberId, name: 'snap7', expiresAt: '2020-01-01T00:00:00.000Z' }, as);
    expect(state.nextSnapshotName(replica.reader, id)).toBe('snap8');
    expect(state.expiredSnapshots(replica.reader, memberId, new Date()).map(({ snapshot }) => snapshot)).toEqual(['snap7']);
    await expect(submit(state.createSnapshot, { volume: v1, memberId, name: 'snap7', expiresAt: '' }, as)).rejects.toThrow(
      'Snapshot "snap7" already in use',
    );
  });

  it('stay where they are while something names them, until that can follow; then it does', async () => {
    const user = defineCommand({
      name: 'test.use',
      run: (ctx) => setReferences(ctx, { kind: 'instance', id: 7, url: '/1.0/instances/c1' }, [state.volumeTarget(v1)]),
    });
    replica = await MemoryReplica.open({
      wings: [projectsState, { ...state.storageState, commands: [...state.storageState.commands, user] }],
    });
    await makePool('local');
    await submit(state.createVolume, { ...v1, memberId }, as);
    await submit(user, {}, as);
    const rename = () => submit(state.renameCustomVolume, { volume: v1, newName: 'v2', memberId }, as);
    await expect(rename()).rejects.toThrow('The storage volume is still in use');
    await expect(submit(state.deleteVolume, { volume: v1, memberId }, as)).rejects.toThrow('The storage volume is still in use');
    const seen: string[] = [];
    state.onVolumeMoved((_, before, after) => void seen.push(`${before.name} ${after.name}`));
    await rename();
    expect(seen).toEqual(['v1 v2']);
    expect(usedBy(replica.reader, state.volumeTarget({ ...v1, name: 'v2' }))).toEqual(['/1.0/instances/c1']);
  });
});
