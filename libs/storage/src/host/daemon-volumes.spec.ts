import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silent, systemClock } from '#kit';
import { DirectMembers, type HostContext, StorageAgentService } from '#members';
import type { Operations } from '#operations/host';
import { projectsState } from '#projects/state';
import { openLocalStore } from '#replica';
import { internalIdentity as identity } from '#replica/state';
import { MemberConfigStore } from '#server/host';
import { MemoryReplica } from '#testkit';
import * as state from '../state/index.js';
import { StorageAgent } from './storage-agent.js';

const call = { identity, requestId: '' };
const key = 'storage.backups_volume';
let context: HostContext;
let agent: StorageAgent;
let backups: string;
const volume = (name: string) => ({ pool: 'local', project: 'default', type: 'custom' as const, name });
const pathOf = (name: string): string => `${context.server.stateDir}/storage-pools/local/custom/default_${name}`;
const calls = () => context.members.calls(StorageAgentService);
const makeVolume = (name: string) => calls().createVolume({ volume: volume(name), contentType: 'filesystem', description: '', config: {} }, call);

/** As PUT /1.0 does it. */
async function configure(target: string): Promise<void> {
  const config = new MemberConfigStore(context.local);
  const after: Record<string, string> = target === '' ? {} : { [key]: target };
  await agent.daemonVolumes.follow(config.read(), after);
  config.replace(after);
}

async function start(): Promise<void> {
  context = { ...context, members: new DirectMembers({ checked: true, memberName: () => 'none' }) };
  agent = new StorageAgent({ context, operations: {} as Operations, warnings: { raise: () => {}, resolve: () => {} } });
  await agent.start();
}

beforeEach(async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'muster-daemon-volumes-'));
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
  await calls().createPool({ name: 'local', driver: 'dir', description: '', config: {} }, call);
  for (const name of ['v1', 'v2']) await makeVolume(name);
  backups = join(stateDir, 'backups');
  mkdirSync(join(backups, 'c1'), { recursive: true });
  writeFileSync(join(backups, 'c1/backup0'), 'bytes');
});
afterEach(async () => {
  await agent.stop({ unmount: true });
  context.local.close();
  rmSync(context.server.stateDir, { recursive: true, force: true });
});

const isWhole = (): boolean => readFileSync(join(backups, 'c1/backup0'), 'utf8') === 'bytes';

describe('a directory of the server', () => {
  it('moves to a volume, to another, and back, with what is in it', async () => {
    await configure('local/v1');
    expect([lstatSync(backups).isSymbolicLink(), isWhole(), readdirSync(pathOf('v1'))]).toEqual([true, true, ['c1']]);
    expect(statSync(pathOf('v1')).mode & 0o777).toBe(0o700);
    await configure('local/v2');
    expect([isWhole(), readdirSync(pathOf('v1')), readdirSync(pathOf('v2'))]).toEqual([true, [], ['c1']]);
    await configure('');
    expect([lstatSync(backups).isDirectory(), isWhole(), readdirSync(pathOf('v2'))]).toEqual([true, true, []]);
  });

  it.each([
    ['that is not', 'local/v3', 'Storage pool volume not found'],
    ['of a pool that is not', 'nope/v1', 'Storage pool volume not found'],
    ['without a pool', 'v1', 'Invalid syntax for volume, must be <pool>/<volume>'],
  ])('does not move to a volume %s', async (_, target, why) => {
    await expect(configure(target)).rejects.toThrow(`Failed validation of "${key}": ${why}`);
    expect(isWhole()).toBe(true);
  });

  it('does not move to a volume with contents', async () => {
    writeFileSync(join(pathOf('v1'), 'file'), '');
    await expect(configure('local/v1')).rejects.toThrow(`isn't empty`);
  });

  it('keeps its volume from being deleted, renamed and snapshotted', async () => {
    await configure('local/v1');
    await expect(calls().deleteVolume(volume('v1'), call)).rejects.toThrow('in use');
    await expect(calls().renameVolume({ volume: volume('v1'), newName: 'v3' }, call)).rejects.toThrow('in use');
    await expect(
      calls().createVolumeSnapshot({ volume: volume('v1'), name: 's', byPattern: false, requestProject: 'default' }, call),
    ).rejects.toThrow('Volumes used by LXD itself cannot have snapshots');
    await configure('');
    await calls().deleteVolume(volume('v1'), call);
  });

  it('is where the configuration says after a crash in the middle of a move', async () => {
    await configure('local/v1');
    await agent.stop({ unmount: false });
    // The link was gone already, and what takes its place not yet there.
    new MemberConfigStore(context.local).replace({});
    rmSync(backups);
    mkdirSync(`${backups}.aside/c1`, { recursive: true });
    renameSync(join(pathOf('v1'), 'c1/backup0'), `${backups}.aside/c1/backup0`);
    await start();
    expect([lstatSync(backups).isDirectory(), isWhole(), existsSync(`${backups}.aside`)]).toEqual([true, true, false]);

    // The configuration had not changed yet, and the volume was no longer asked for by anybody.
    await configure('local/v2');
    await agent.stop({ unmount: false });
    new MemberConfigStore(context.local).replace({});
    await start();
    expect([lstatSync(backups).isDirectory(), isWhole(), readdirSync(pathOf('v2'))]).toEqual([true, true, []]);
  });
});
