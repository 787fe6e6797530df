import type { InstanceState } from '#api-contract';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { detectCgroups, listCgroups } from '#host-kit';
import { fault } from '#kit';
import { profile, updateProfile } from '#profiles/state';
import { createSnapshot, findInstance, instances, renameInstance, snapshotNames } from '../state/index.js';
import { cannotRunContainers } from './testing/busybox-rootfs.js';
import { call, MemberRig } from './testing/member-rig.js';

const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries === 500) throw new Error('it did not happen');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

describe.skipIf(cannotRunContainers())('the instances of a member', () => {
  let rig: MemberRig;
  const c1 = { project: 'default', name: 'c1' };

  beforeAll(async () => void (rig = await new MemberRig().open()));
  afterEach(async () => {
    for (const record of instances(rig.replica.reader)) await rig.agent.lifecycle.removeAll(record, call);
  });
  afterAll(async () => {
    await rig.close();
    expect(listCgroups(detectCgroups(), 'lxc.').filter((name) => name.includes(rig.hash))).toEqual([]);
  });
  const output = async (name: string, command: string[], more: Record<string, unknown> = {}): Promise<unknown> =>
    (await rig.ok(rig.calls.execInstance({ instance: { project: 'default', name }, exec: { command, 'record-output': true, ...more } }, call)))
      .metadata;

  it('are created, started, stopped by force and deleted, and leave nothing', async () => {
    await rig.createBusybox('c1');
    expect(await rig.act('c1', 'start')).toMatchObject({ status: 'Success', description: 'Starting instance' });
    const running = rig.record('c1');
    expect(running).toMatchObject({
      status: 103,
      config: { 'volatile.last_state.power': 'RUNNING', 'volatile.last_state.idmap': '[]', 'volatile.idmap.base': '0' },
    });
    expect(running.lastUsedAt).not.toBe('');
    expect((await rig.act('c1', 'start')).err).toBe('The instance is already running');
    await expect(rig.calls.deleteInstance(c1, call)).rejects.toThrow('Instance is running');
    // Its init brings the loopback up in its own time.
    const stateOf = async (): Promise<InstanceState> =>
      (await rig.calls.instanceStates({ ids: [running.id] }, call)).states[running.id] as unknown as InstanceState;
    await until(async () => (await stateOf()).network!.lo!.addresses.length === 2);
    expect(await stateOf()).toMatchObject({
      status: 'Running',
      network: { lo: { type: 'loopback', addresses: [{ address: '127.0.0.1', netmask: '8', scope: 'local' }, { address: '::1' }] } },
    });
    expect((await rig.act('c1', 'stop', { force: true })).err).toBe('');
    expect(rig.record('c1')).toMatchObject({ status: 102, config: { 'volatile.last_state.power': 'STOPPED' } });
    expect((await rig.act('c1', 'stop', { force: true })).err).toBe('The instance is already stopped');
    await rig.ok(rig.calls.deleteInstance(c1, call));
    expect(existsSync(join(rig.stateDir, 'containers/c1'))).toBe(false);
    for (const directory of ['logs', 'devices', 'shmounts', 'storage-pools/local/containers'])
      expect(readdirSync(join(rig.stateDir, directory))).toEqual([]);
  });

  it('stop by themselves, reboot by themselves, and are gone at once when ephemeral', async () => {
    await rig.createBusybox('c1');
    await rig.act('c1', 'start');
    await output('c1', ['reboot', '-f']).catch(() => {});
    const first = rig.record('c1').lastUsedAt;
    await until(() => rig.record('c1').status === 103 && rig.record('c1').lastUsedAt !== first);
    expect((await rig.act('c1', 'stop', { timeout: 10 })).err).toBe('');
    await rig.act('c1', 'start');
    await output('c1', ['poweroff', '-f']).catch(() => {});
    await until(() => rig.record('c1').status === 102);

    await rig.createBusybox('eph', { ephemeral: true });
    await rig.act('eph', 'start');
    await rig.act('eph', 'stop', { force: true });
    expect(findInstance(rig.replica.reader, 'default', 'eph')).toBeUndefined();
  }, 20_000);

  it('restart, freeze and thaw; a stop that is not heeded fails in its time, a forced one wins over it', async () => {
    await rig.createBusybox('c1');
    await rig.act('c1', 'start');
    const { pid } = await rig.agent.power.power(rig.record('c1'));
    expect((await rig.act('c1', 'restart', { force: true })).err).toBe('');
    expect((await rig.agent.power.power(rig.record('c1'))).pid).not.toBe(pid);
    expect((await rig.act('c1', 'freeze')).err).toBe('');
    expect(rig.record('c1').status).toBe(110);
    await expect(rig.calls.execInstance({ instance: c1, exec: { command: ['true'] } }, call)).rejects.toThrow('Instance is frozen');
    expect((await rig.act('c1', 'unfreeze')).err).toBe('');
    // An init that listens to nothing.
    writeFileSync(join(rig.stateDir, 'containers/c1/rootfs/deaf'), '');
    await output('c1', ['sh', '-c', 'kill -STOP -1']);
    const slow = rig.act('c1', 'stop', { timeout: 30 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await rig.act('c1', 'start')).err).toMatch(/Instance is busy running a "stop" operation|already running/);
    expect((await rig.act('c1', 'stop', { force: true })).err).toBe('');
    expect((await slow).err === '' || (await slow).err.startsWith('Interrupted')).toBe(true);
    expect(rig.record('c1').status).toBe(102);
  }, 20_000);

  it('run commands with recorded output', async () => {
    await rig.createBusybox('c1', { config: { 'environment.GREETING': 'hello' } });
    await rig.act('c1', 'start');
    const metadata = (await output('c1', ['sh', '-c', 'echo $GREETING $HOME $USER; echo err >&2; exit 3'])) as {
      return: number;
      output: Record<string, string>;
    };
    expect(metadata.return).toBe(3);
    const log = async (url: string): Promise<string> => {
      const { ticket } = await rig.calls.readLog({ instance: c1, path: url.split('/').pop()! }, call);
      return text(rig.context.members.streams.open(ticket) as Readable);
    };
    expect(await log(metadata.output['1']!)).toBe('hello /root root\n');
    expect(await log(metadata.output['2']!)).toBe('err\n');
    const missing = await rig.done(rig.calls.execInstance({ instance: c1, exec: { command: ['nope'] } }, call));
    expect(missing).toMatchObject({ status: 'Failure', err: 'Command not found', metadata: { return: 127 } });
    expect((await rig.calls.listLogs(c1, call)).names).toEqual(expect.arrayContaining(['lxc.conf', 'lxc.log']));
  });

  it('have files that can be written and read, running or not, owned as inside', async () => {
    await rig.createBusybox('c1');
    const write = (path: string, body: string, more: Record<string, unknown> = {}) =>
      rig.calls.writeFile(
        { instance: c1, path, type: 'file', append: false, ticket: rig.context.members.streams.offer(Readable.from([body])), ...more },
        call,
      );
    const read = async (path: string): Promise<string> => {
      const { ticket } = await rig.calls.readFile({ instance: c1, path }, call);
      return text(rig.context.members.streams.open(ticket) as Readable);
    };
    for (const power of ['stopped', 'running']) {
      if (power === 'running') await rig.act('c1', 'start');
      await write(`/root/${power}`, 'one', { uid: 1000, gid: 1000, mode: 0o600 });
      await write(`/root/${power}`, ' two', { append: true, uid: 5 });
      expect(await read(`/root/${power}`)).toBe('one two');
      expect(await rig.calls.statFile({ instance: c1, path: `/root/${power}` }, call)).toMatchObject({
        type: 'file',
        uid: 1000,
        gid: 1000,
        mode: 0o600,
        size: 7,
      });
      await write('/root/link', `/root/${power}`, { type: 'symlink' }).catch(() => {});
      await write(`/root/dir-${power}`, '', { type: 'directory' });
      expect((await rig.calls.readFile({ instance: c1, path: '/root' }, call)).names).toContain(`dir-${power}`);
      await rig.calls.deleteFile({ instance: c1, path: '/root/link' }, call);
      await expect(rig.calls.readFile({ instance: c1, path: '/root/link' }, call)).rejects.toMatchObject({ kind: 'notFound' });
      await expect(write('/no/such/x', '')).rejects.toMatchObject({ kind: 'notFound' });
    }
    expect(await output('c1', ['sh', '-c', 'test "$(stat -c %u /root/stopped)" = 1000 && test "$(stat -c %u /root/running)" = 1000'])).toMatchObject({
      return: 0,
    });
  });

  it('do not let a link lead out of them', async () => {
    await rig.createBusybox('c1');
    const offer = (body: string): string => rig.context.members.streams.offer(Readable.from([body]));
    await rig.calls.writeFile({ instance: c1, path: '/etc/out', type: 'symlink', append: false, ticket: offer('/etc/hostname-of-the-host') }, call);
    await rig.calls.writeFile({ instance: c1, path: '/etc/out', type: 'file', append: false, ticket: offer('inside') }, call);
    expect(existsSync('/etc/hostname-of-the-host')).toBe(false);
    expect(readFileSync(join(rig.stateDir, 'containers/c1/rootfs/etc/hostname-of-the-host'), 'utf8')).toBe('inside');
  });

  it('change their config, live where that goes, and are renamed', async () => {
    await rig.createBusybox('c1');
    await rig.act('c1', 'start');
    const { architecture, description, ephemeral, config, devices, profiles, stateful } = rig.record('c1');
    const put = { architecture, description, ephemeral, devices, profiles, stateful, config: { ...config, 'limits.processes': '77', 'user.x': 'y' } };
    expect((await rig.done(rig.calls.replaceInstance({ instance: c1, put, ifMatch: '' }, call))).err).toBe('');
    const pids = join(detectCgroups().controllers.get('pids')!.root, `lxc.payload.${rig.hash}-c1/pids.max`);
    expect(readFileSync(pids, 'latin1').trim()).toBe('77');
    await expect(rig.calls.patchInstance({ instance: c1, put: { ...put, config: { 'nope.key': '1' } }, ifMatch: '' }, call)).rejects.toThrow();
    expect((await rig.done(rig.calls.renameInstance({ instance: c1, newName: 'c2' }, call))).err).toBe('Renaming of running container not allowed');
    await rig.act('c1', 'stop', { force: true });
    await rig.ok(rig.calls.renameInstance({ instance: c1, newName: 'c2' }, call));
    expect(existsSync(join(rig.stateDir, 'containers/c2/rootfs'))).toBe(true);
    expect((await rig.act('c2', 'start')).err).toBe('');
  });

  it('have snapshots that can be gone back to', async () => {
    await rig.createBusybox('c1');
    const marker = join(rig.stateDir, 'containers/c1/rootfs/root/marker');
    writeFileSync(marker, 'before');
    await rig.ok(rig.calls.createInstanceSnapshot({ instance: c1, name: '', stateful: false }, call));
    expect(snapshotNames(rig.replica.reader, rig.record('c1').id)).toEqual(['snap0']);
    writeFileSync(marker, 'after');
    await rig.act('c1', 'start');
    const put = { ...rig.record('c1'), restore: 'snap0' } as unknown as Record<string, unknown>;
    delete put.createdAt;
    await rig.ok(rig.calls.replaceInstance({ instance: c1, put, ifMatch: '' }, call));
    expect(readFileSync(marker, 'utf8')).toBe('before');
    expect(rig.record('c1').status).toBe(103);
    await rig.ok(rig.calls.renameInstanceSnapshot({ instance: c1, name: 'snap0', newName: 's1' }, call));
    await rig.ok(rig.calls.deleteInstanceSnapshot({ instance: c1, name: 's1' }, call));
    expect(snapshotNames(rig.replica.reader, rig.record('c1').id)).toEqual([]);
  });

  it('have a snapshot at each start where their schedule says so', async () => {
    await rig.createBusybox('c1');
    const { architecture, description, ephemeral, config, devices, profiles, stateful } = rig.record('c1');
    const put = {
      architecture,
      description,
      ephemeral,
      devices,
      profiles,
      stateful,
      config: { ...config, 'snapshots.schedule': '@Startup, @daily' },
    };
    await rig.ok(rig.calls.replaceInstance({ instance: c1, put, ifMatch: '' }, call));
    await rig.act('c1', 'start');
    expect((await rig.act('c1', 'restart', { force: true })).err).toBe('');
    expect(snapshotNames(rig.replica.reader, rig.record('c1').id)).toEqual(['snap0', 'snap1']);
  });

  it('say when a profile gives them what they cannot have', async () => {
    await rig.createBusybox('c1');
    const root = Object.values(rig.record('c1').expandedDevices).find(({ path }) => path === '/')!;
    const before = profile(rig.replica.reader, 'default', 'default');
    const after = { description: '', config: {}, devices: { ...before.devices, another: root } };
    await rig.replica.submit(updateProfile, { project: 'default', name: 'default', put: after }, { identity: call.identity });
    await expect(
      rig.calls.profileChanged({ project: 'default', name: 'default', before: { config: before.config, devices: before.devices } }, call),
    ).rejects.toThrow(/failed to update \(profile change still saved\):\n - Project: default, Instance: c1: Invalid expanded devices/);
    await rig.replica.submit(updateProfile, { project: 'default', name: 'default', put: before }, { identity: call.identity });
  });

  it('are found again by a new daemon, and what ended meanwhile is seen', async () => {
    await rig.createBusybox('c1');
    await rig.createBusybox('c2');
    await rig.act('c1', 'start');
    await rig.act('c2', 'start');
    const { pid } = await rig.agent.power.power(rig.record('c1'));
    const other = (await rig.agent.power.power(rig.record('c2'))).pid;
    await rig.halt();
    process.kill(other, 'SIGKILL');
    await until(() => !existsSync(`/proc/${other}`));
    await rig.boot();
    expect(await rig.agent.power.power(rig.record('c1'))).toEqual({ state: 'running', pid });
    expect(rig.record('c2')).toMatchObject({ status: 102, config: { 'volatile.last_state.power': 'RUNNING' } });
    await rig.agent.autostart();
    expect(rig.record('c2').status).toBe(103);
    expect((await rig.act('c1', 'stop', { force: true })).err).toBe('');
  });

  it('undo a create that fails, and finish what a killed daemon began', async () => {
    const taken = await rig.createBusybox('c1');
    expect((await rig.create('c1')).err).toContain('already exists');
    expect((await rig.create('c2', { config: { 'nope.key': '1' } })).err).toBe('Invalid config: Unknown configuration key: nope.key');
    expect(instances(rig.replica.reader).map(({ name }) => name)).toEqual(['c1']);
    await rig.halt();
    rig.context.local.run(
      'INSERT INTO instance_intents (intent) VALUES (?)',
      JSON.stringify({ kind: 'create', project: 'default', name: 'c1', uuid: taken.config['volatile.uuid'] }),
    );
    await rig.boot();
    expect(instances(rig.replica.reader)).toEqual([]);
    expect(existsSync(join(rig.stateDir, 'containers/c1'))).toBe(false);
  });

  describe('after a kill in the middle of', () => {
    const cut = async (intent: Record<string, unknown>, meanwhile: () => unknown = () => undefined): Promise<void> => {
      await rig.halt();
      await meanwhile();
      rig.context.local.run('INSERT INTO instance_intents (intent) VALUES (?)', JSON.stringify(intent));
      await rig.boot();
      expect(rig.context.local.all('SELECT * FROM instance_intents')).toEqual([]);
    };
    const as = { identity: call.identity };
    const root = (name: string): string => join(rig.stateDir, 'storage-pools/local/containers', name);

    it('a delete, it is finished, whatever was gone already', async () => {
      const { id } = await rig.createBusybox('c1');
      await cut({ kind: 'delete', id }, () => rmSync(join(root('c1'), 'rootfs'), { recursive: true }));
      expect(instances(rig.replica.reader)).toEqual([]);
      expect(existsSync(root('c1'))).toBe(false);
    });

    it('a rename, the bytes get the name that the row has', async () => {
      const { id } = await rig.createBusybox('c1');
      const intent = { kind: 'rename', id, name: 'c1', newName: 'c2' };
      await cut(intent);
      expect((await rig.act('c1', 'start')).err).toBe('');
      await rig.act('c1', 'stop', { force: true });
      await cut(intent, () => rig.replica.submit(renameInstance, { project: 'default', name: 'c1', newName: 'c2' }, as));
      expect(existsSync(root('c2'))).toBe(true);
      expect((await rig.act('c2', 'start')).err).toBe('');
    });

    it('a snapshot, nothing of it is left', async () => {
      const { id } = await rig.createBusybox('c1');
      await cut({ kind: 'snapshot', id, snapshot: 's' }, () =>
        rig.replica.submit(createSnapshot, { project: 'default', instance: 'c1', name: 's', expiresAt: '', stateful: false }, as),
      );
      expect(snapshotNames(rig.replica.reader, id)).toEqual([]);
      await rig.ok(rig.calls.createInstanceSnapshot({ instance: c1, name: 's', stateful: false }, call));
    });

    it('a restore, it is done again', async () => {
      const { id } = await rig.createBusybox('c1');
      const marker = join(root('c1'), 'rootfs/root/marker');
      writeFileSync(marker, 'before');
      await rig.ok(rig.calls.createInstanceSnapshot({ instance: c1, name: 's', stateful: false }, call));
      await cut({ kind: 'restore', id, snapshot: 's' }, () => writeFileSync(marker, 'half'));
      expect(readFileSync(marker, 'utf8')).toBe('before');
    });
  });

  it('record what happened without a quorum once there is one again', async () => {
    await rig.createBusybox('c1');
    await rig.act('c1', 'start');
    const submit = rig.replica.submit.bind(rig.replica);
    rig.replica.submit = async () => {
      throw fault.unavailable('No quorum');
    };
    expect((await rig.act('c1', 'stop', { force: true })).err).toBe('');
    expect((await rig.act('c1', 'start')).err).toBe('');
    expect((await rig.agent.power.power(rig.record('c1'))).state).toBe('running');
    await rig.act('c1', 'stop', { force: true });
    expect(rig.record('c1').status).toBe(103);
    rig.replica.submit = submit;
    await until(() => rig.record('c1').status === 102);
  });

  it('start many at once', async () => {
    const names = Array.from({ length: 8 }, (_, at) => `m${at}`);
    await Promise.all(names.map((name) => rig.createBusybox(name)));
    const results = await Promise.all(names.map((name) => rig.act(name, 'start')));
    expect(results.map(({ err }) => err)).toEqual(names.map(() => ''));
    const stop = await rig.ok(rig.calls.changeInstanceStates({ project: 'default', put: { action: 'stop', force: true, timeout: 0 } }, call));
    expect(stop.resources?.instances).toHaveLength(8);
    expect(instances(rig.replica.reader).every(({ status }) => status === 102)).toBe(true);
  }, 20_000);
});
