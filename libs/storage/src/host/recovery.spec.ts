import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyedLocks, silent, systemClock } from '#kit';
import { DirectMembers, type HostContext, StorageAgentService } from '#members';
import type { Operations } from '#operations/host';
import { projectsState } from '#projects/state';
import { openLocalStore } from '#replica';
import { internalIdentity as identity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import type { VolumeRef } from '../model/index.js';
import * as state from '../state/index.js';
import { Intents, type Intent } from './intents.js';
import { StorageAgent } from './storage-agent.js';

let context: HostContext;
let agent: StorageAgent;
const call = { identity, requestId: '' };
const ref = (name: string, type: VolumeRef['type'] = 'container'): VolumeRef => ({ pool: 'local', project: 'default', type, name });
const pathOf = (name: string): string => `${context.server.stateDir}/storage-pools/local/${name}`;

async function start(): Promise<void> {
  agent = new StorageAgent({ context, operations: {} as Operations, warnings: { raise: () => {}, resolve: () => {} } });
  await agent.start();
}

/** As after kill -9: the intent stands, the disk is as it was at that moment. */
async function crashed(intent: Intent): Promise<void> {
  await agent.stop({ unmount: false });
  context.local.run('INSERT INTO storage_intents (intent) VALUES (?)', JSON.stringify(intent));
  context = { ...context, members: new DirectMembers({ checked: true, memberName: () => 'none' }) };
  await start();
  expect(new Intents(context.local).unfinished()).toEqual([]);
}

const submit: MemoryReplica['submit'] = (...args) => context.replica.submit(...args);
const createPool = (name: string) =>
  context.members.calls(StorageAgentService).createPool({ name, driver: 'dir', description: '', config: {} }, call);

beforeEach(async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'muster-recovery-'));
  context = {
    replica: await MemoryReplica.open({ wings: [projectsState, state.storageState] }),
    local: openLocalStore(join(stateDir, 'local.db')),
    members: new DirectMembers({ checked: true, memberName: () => 'none' }),
    server: { stateDir, memberId: 1, memberName: () => 'none' } as HostContext['server'],
    naming: {} as HostContext['naming'],
    clock: systemClock,
    log: silent,
  };
  await start();
  await createPool('local');
});
afterEach(async () => {
  await agent.stop({ unmount: true });
  context.local.close();
  rmSync(context.server.stateDir, { recursive: true, force: true });
});

describe('after a crash in the middle of', () => {
  it('making a volume, nothing is left of it', async () => {
    mkdirSync(pathOf('containers/c1/rootfs'), { recursive: true });
    await crashed({ kind: 'create-volume', volume: ref('c1') });
    expect(readdirSync(pathOf('containers'))).toEqual([]);
  });

  it('making a custom volume, its row is gone as well', async () => {
    await submit(state.createVolume, { ...ref('v', 'custom'), memberId: 1 }, { identity });
    mkdirSync(pathOf('custom/default_v'));
    await crashed({ kind: 'create-custom', volume: ref('v', 'custom') });
    expect(readdirSync(pathOf('custom'))).toEqual([]);
    expect(state.findVolume(context.replica.reader, ref('v', 'custom'))).toBeUndefined();
  });

  it('removing a volume, it is removed', async () => {
    await agent.storage.create(ref('c1'), {}, { kind: 'empty' }, call);
    await crashed({ kind: 'remove-volume', volume: ref('c1') });
    expect(readdirSync(pathOf('containers'))).toEqual([]);
    expect(readdirSync(`${context.server.stateDir}/containers`)).toEqual([]);
  });

  it('deleting a custom volume whose row still stands, it is as before', async () => {
    await submit(state.createVolume, { ...ref('v', 'custom'), memberId: 1 }, { identity });
    await agent.storage.create(ref('v', 'custom'), {}, { kind: 'empty' }, call);
    await crashed({ kind: 'remove-custom', volume: ref('v', 'custom') });
    expect(readdirSync(pathOf('custom'))).toEqual(['default_v']);
    await submit(state.deleteVolume, { volume: ref('v', 'custom'), memberId: 1 }, { identity });
    await crashed({ kind: 'remove-custom', volume: ref('v', 'custom') });
    expect(readdirSync(pathOf('custom'))).toEqual([]);
  });

  it('renaming a volume, it has the name that its row has', async () => {
    await submit(state.createVolume, { ...ref('old', 'custom'), memberId: 1 }, { identity });
    await agent.storage.create(ref('old', 'custom'), {}, { kind: 'empty' }, call);
    await agent.storage.snapshot(ref('old', 'custom'), 's');
    await agent.storage.rename(ref('old', 'custom'), 'new');
    await crashed({ kind: 'rename-volume', volume: ref('old', 'custom'), newName: 'new' });
    expect([readdirSync(pathOf('custom')), readdirSync(pathOf('custom-snapshots'))]).toEqual([['default_old'], ['default_old']]);
    await submit(state.renameCustomVolume, { volume: ref('old', 'custom'), newName: 'new', memberId: 1 }, { identity });
    await crashed({ kind: 'rename-volume', volume: ref('old', 'custom'), newName: 'new' });
    expect([readdirSync(pathOf('custom')), readdirSync(pathOf('custom-snapshots'))]).toEqual([['default_new'], ['default_new']]);
  });

  it('taking a snapshot, it is gone, and its link with it', async () => {
    await agent.storage.create(ref('c1'), {}, { kind: 'empty' }, call);
    await agent.storage.snapshot(ref('c1'), 's');
    expect(existsSync(`${context.server.stateDir}/snapshots/c1/s`)).toBe(true);
    await crashed({ kind: 'snapshot', volume: ref('c1'), snapshot: 's' });
    expect(existsSync(`${context.server.stateDir}/snapshots/c1`)).toBe(false);
  });

  it('restoring a snapshot, it is restored', async () => {
    const volume = ref('v', 'custom');
    await submit(state.createVolume, { ...volume, memberId: 1 }, { identity });
    await agent.storage.create(volume, {}, { kind: 'empty' }, call);
    writeFileSync(pathOf('custom/default_v/file'), 'then');
    await agent.storage.snapshot(volume, 's');
    writeFileSync(pathOf('custom/default_v/file'), 'now!');
    await crashed({ kind: 'restore', volume, snapshot: 's' });
    expect(readFileSync(pathOf('custom/default_v/file'), 'utf8')).toBe('then');
  });

  it('making a pool, before or after its driver was done, there is none', async () => {
    for (const made of [false, true]) {
      await submit(state.definePool, { name: 'half', driver: 'dir', description: '', config: {}, memberId: 1 }, { identity });
      mkdirSync(`${context.server.stateDir}/storage-pools/half${made ? '/containers' : ''}`, { recursive: true });
      await crashed({ kind: 'create-pool', pool: 'half', made });
      expect(readdirSync(`${context.server.stateDir}/storage-pools`)).toEqual(['local']);
      expect(state.findPool(context.replica.reader, 'half')).toBeUndefined();
    }
  });

  it('removing a pool, it is removed; before it was marked, nothing has happened', async () => {
    await crashed({ kind: 'remove-pool', pool: 'local' });
    expect(existsSync(pathOf('containers'))).toBe(true);
    await submit(state.beginPoolRemoval, { name: 'local' }, { identity });
    await crashed({ kind: 'remove-pool', pool: 'local' });
    expect(state.pools(context.replica.reader)).toEqual([]);
    expect(existsSync(pathOf(''))).toBe(false);
  });

  it('unpacking an image, what was unpacked is swept', async () => {
    mkdirSync(pathOf('images/.partial-abc/rootfs'), { recursive: true });
    await crashed({ kind: 'remove-volume', volume: ref('none') });
    expect(readdirSync(pathOf('images'))).toEqual([]);
  });
});

describe('volumes of this member', () => {
  it('are found through links by the names that people know, whichever project', async () => {
    const theirs = { ...ref('c1'), project: 'p' };
    await agent.storage.create(theirs, {}, { kind: 'fill', fill: async (path) => writeFileSync(`${path}/metadata.yaml`, '') }, call);
    expect(existsSync(`${context.server.stateDir}/containers/p_c1/metadata.yaml`)).toBe(true);
    expect(agent.storage.instanceLink(theirs)).toBe(`${context.server.stateDir}/containers/p_c1`);
    await agent.storage.rename(theirs, 'c2');
    expect(readdirSync(`${context.server.stateDir}/containers`)).toEqual(['p_c2']);
    await agent.storage.rename(theirs, 'c2');
  });

  it('leave nothing when filling them fails, and are not filled twice under one name', async () => {
    const failing = { kind: 'fill' as const, fill: () => Promise.reject(new Error('no')) };
    await expect(agent.storage.create(ref('c1'), {}, failing, call)).rejects.toThrow('no');
    expect(readdirSync(pathOf('containers'))).toEqual([]);
    const both = await Promise.allSettled([1, 2].map(() => agent.storage.create(ref('c1'), {}, { kind: 'empty' }, call)));
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('are not removed while they are mounted, and counted as often as they are', async () => {
    await agent.storage.create(ref('c1'), {}, { kind: 'empty' }, call);
    const [first, second] = [await agent.storage.mount(ref('c1')), await agent.storage.mount(ref('c1'))];
    expect(first.path).toBe(pathOf('containers/c1'));
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    await expect(agent.storage.remove(ref('c1'))).rejects.toMatchObject({ kind: 'conflict' });
    await second[Symbol.asyncDispose]();
    await agent.storage.remove(ref('c1'));
  });

  it('are unavailable with 503 while their pool cannot be mounted, and the others go on', async () => {
    await submit(state.definePool, { name: 'away', driver: 'dir', description: '', config: { source: '/no/such/disk' }, memberId: 1 }, { identity });
    await submit(state.poolMade, { name: 'away', memberId: 1, config: { source: '/no/such/disk' } }, { identity });
    await crashed({ kind: 'remove-volume', volume: ref('none') });
    await expect(agent.storage.create({ ...ref('c1'), pool: 'away' }, {}, { kind: 'empty' }, call)).rejects.toMatchObject({ kind: 'unavailable' });
    await agent.storage.create(ref('c1'), {}, { kind: 'empty' }, call);
  });
});

describe('keyed locks', () => {
  it('never wait for each other in a ring, and are free afterwards', async () => {
    const locks = new KeyedLocks();
    const order: string[] = [];
    const work = (name: string) => async (): Promise<void> => {
      order.push(`${name} in`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push(`${name} out`);
    };
    await Promise.all([locks.hold(['a', 'b'], work('1')), locks.hold(['b', 'a'], work('2')), locks.hold(['c'], work('3'))]);
    expect(order.indexOf('1 out')).toBeLessThan(order.indexOf('2 in'));
    expect(order.indexOf('3 in')).toBeLessThan(order.indexOf('1 out'));
    await locks.hold(['a'], work('4'));
  });
});
