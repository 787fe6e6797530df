import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server } from '../support/server.js';

/** A real LXD 5.0.2 and Muster side by side; the client of Muster's directory knows both as remotes. */
let muster: Server;
let lxd: Server;
const both = ['m', 'l'] as const;
const other = { m: 'l', l: 'm' } as const;
const serverOf = (remote: 'm' | 'l'): Server => (remote === 'm' ? muster : lxd);
const file = (name: string): string => join(muster.dir, 'client', name);
const ok = (...args: string[]): Promise<string> => muster.ok(args, { timeoutMs: 120_000 });
const read = (instance: string): Promise<string> => ok('file', 'pull', `${instance}/root/mark`, '-');
const write = (instance: string, text: string): Promise<string> =>
  muster.ok(['file', 'push', '-', `${instance}/root/mark`, '--create-dirs'], { input: text });
const snapshotsOf = async (remote: 'm' | 'l', name: string): Promise<string[]> =>
  (await serverOf(remote).api.get<string[]>(`/1.0/instances/${name}/snapshots`)).map((url) => url.split('/').at(-1)!).sort();
/** Starts it, and what it then has in its root. */
async function started(instance: string): Promise<string> {
  await ok('start', instance);
  return ok('exec', instance, '--', 'cat', '/root/mark');
}

async function furnish(server: Server, port: number): Promise<void> {
  await server.furnish({ network: false });
  await server.api.change('POST', '/1.0/storage-pools', { name: 'fast', driver: 'btrfs', config: { size: '1GiB' } });
  await server.api.change('PATCH', '/1.0', { config: { 'core.https_address': `127.0.0.1:${port}`, 'core.trust_password': 'secret' } });
}

beforeAll(async () => {
  [muster, lxd] = [await Server.start({ kind: 'muster' }), await Server.start({ kind: 'lxd' })];
  const port = 18_000 + (process.pid % 1000) * 2;
  await furnish(muster, port);
  await furnish(lxd, port + 1);
  await ok('remote', 'add', 'm', `https://127.0.0.1:${port}`, '--password', 'secret', '--accept-certificate');
  await ok('remote', 'add', 'l', `https://127.0.0.1:${port + 1}`, '--password', 'secret', '--accept-certificate');
  for (const remote of both) {
    for (const [name, pool] of [
      ['c1', 'default'],
      ['b1', 'fast'],
    ]) {
      await ok('launch', `${remote}:busybox`, `${remote}:${name}`, '-s', pool!, '-c', 'user.own=kept');
      await write(`${remote}:${name}`, 'one');
      await ok('snapshot', `${remote}:${name}`, 'snap0');
      await write(`${remote}:${name}`, 'second');
      await ok('stop', '-f', `${remote}:${name}`);
    }
  }
}, 240_000);
afterAll(async () => {
  await Promise.all([muster?.stop(), lxd?.stop()]);
}, 120_000);

for (const from of both) {
  const to = other[from];
  const title = from === 'm' ? 'from Muster to LXD' : 'from LXD to Muster';

  describe(title, () => {
    for (const [name, flags] of [
      ['c1', []],
      ['b1', []],
      ['b1', ['--optimized-storage']],
    ] as const) {
      it(`a backup: ${[name, ...flags].join(' ')}`, async () => {
        await ok('export', `${from}:${name}`, file('backup.tar.gz'), ...flags);
        await ok('import', `${to}:`, file('backup.tar.gz'), 'imported');
        expect(await snapshotsOf(to, 'imported')).toEqual(['snap0']);
        expect(await started(`${to}:imported`)).toBe('second');
        await ok('stop', '-f', `${to}:imported`);
        await ok('restore', `${to}:imported`, 'snap0');
        expect(await started(`${to}:imported`)).toBe('one');
        const { config } = await serverOf(to).api.get<Instance>('/1.0/instances/imported');
        expect(config['user.own']).toBe('kept');
        await ok('delete', '-f', `${to}:imported`);
      });
    }

    it('a backup of a custom volume', async () => {
      for (const [pool, flags] of [
        ['default', []],
        ['fast', ['--optimized-storage']],
      ] as const) {
        await ok('storage', 'volume', 'create', `${from}:${pool}`, 'v1', 'user.x=y');
        await ok('storage', 'volume', 'snapshot', `${from}:${pool}`, 'v1', 's0');
        await ok('storage', 'volume', 'export', `${from}:${pool}`, 'v1', file('volume.tar.gz'), ...flags);
        await ok('storage', 'volume', 'import', `${to}:${pool}`, file('volume.tar.gz'), 'v2');
        expect(await ok('storage', 'volume', 'show', `${to}:${pool}`, 'v2')).toContain('user.x: "y"');
        expect(existsSync(join(serverOf(to).dir, 'storage-pools', pool, 'custom-snapshots/default_v2/s0'))).toBe(true);
        await ok('storage', 'volume', 'delete', `${from}:${pool}`, 'v1');
        await ok('storage', 'volume', 'delete', `${to}:${pool}`, 'v2');
      }
    });

    for (const mode of ['pull', 'push', 'relay'] as const) {
      it(`a container with its snapshots: ${mode}`, async () => {
        covers('container_push', 'container_push_target', 'migration_progress');
        for (const [name, pool] of [
          ['c1', 'default'],
          ['b1', 'default'],
          ['c1', 'fast'],
        ] as const) {
          await ok('copy', `${from}:${name}`, `${to}:copied`, '--mode', mode, '-s', pool);
          expect(await snapshotsOf(to, 'copied')).toEqual(['snap0']);
          expect(await started(`${to}:copied`)).toBe('second');
          expect(await ok('exec', `${to}:copied`, '--', 'stat', '-c', '%u', '/root/mark')).toBe('0\n');
          await ok('stop', '-f', `${to}:copied`);
          await ok('restore', `${to}:copied`, 'snap0');
          expect(await started(`${to}:copied`)).toBe('one');
          await ok('delete', '-f', `${to}:copied`);
        }
      });
    }

    it('a container without its snapshots, a snapshot by itself, and one that runs', async () => {
      covers('container_only_migration');
      await ok('copy', `${from}:c1`, `${to}:copied`, '--instance-only');
      expect(await snapshotsOf(to, 'copied')).toEqual([]);
      await ok('delete', `${to}:copied`);
      await ok('copy', `${from}:c1/snap0`, `${to}:copied`);
      expect(await started(`${to}:copied`)).toBe('one');
      await ok('delete', '-f', `${to}:copied`);
      await ok('start', `${from}:c1`);
      expect((await muster.lxc(['copy', `${from}:c1`, `${to}:copied`])).stderr).toContain('CRIU');
      await ok('copy', `${from}:c1`, `${to}:copied`, '--stateless');
      expect(await started(`${to}:copied`)).toBe('second');
      await ok('delete', '-f', `${to}:copied`);
      await ok('stop', '-f', `${from}:c1`);
    });

    it('a copy that is refreshed', async () => {
      await ok('copy', `${from}:c1`, `${to}:copied`);
      await ok('snapshot', `${from}:c1`, 'snap1');
      await write(`${from}:c1`, 'three');
      await ok('snapshot', `${to}:copied`, 'mine');
      await ok('copy', `${from}:c1`, `${to}:copied`, '--refresh');
      expect(await snapshotsOf(to, 'copied')).toEqual(['snap0', 'snap1']);
      expect(await read(`${to}:copied`)).toBe('three');
      await ok('delete', `${to}:copied`);
      await ok('delete', `${from}:c1/snap1`);
      await write(`${from}:c1`, 'second');
    });

    it('a container that moves', async () => {
      await ok('copy', `${from}:c1`, `${from}:c2`);
      await ok('move', `${from}:c2`, `${to}:c2`);
      expect((await muster.lxc(['info', `${from}:c2`])).code).not.toBe(0);
      expect(await started(`${to}:c2`)).toBe('second');
      await ok('delete', '-f', `${to}:c2`);
    });

    it('a custom volume with its snapshots', async () => {
      covers('storage_api_remote_volume_handling', 'storage_api_remote_volume_snapshots', 'custom_volume_refresh');
      await ok('storage', 'volume', 'create', `${from}:default`, 'v1', 'user.x=y');
      await ok('storage', 'volume', 'snapshot', `${from}:default`, 'v1', 's0');
      for (const mode of ['pull', 'push', 'relay']) {
        await ok('storage', 'volume', 'copy', `${from}:default/v1`, `${to}:fast/v2`, '--mode', mode);
        expect(await ok('storage', 'volume', 'show', `${to}:fast`, 'v2/s0')).toContain('name: s0');
        await ok('storage', 'volume', 'copy', `${from}:default/v1`, `${to}:fast/v3`, '--mode', mode, '--volume-only');
        expect((await muster.lxc(['storage', 'volume', 'show', `${to}:fast`, 'v3/s0'])).code).not.toBe(0);
        await ok('storage', 'volume', 'delete', `${to}:fast`, 'v2');
        await ok('storage', 'volume', 'delete', `${to}:fast`, 'v3');
      }
      await ok('storage', 'volume', 'copy', `${from}:default/v1`, `${to}:default/v2`);
      await ok('storage', 'volume', 'snapshot', `${from}:default`, 'v1', 's1');
      await ok('storage', 'volume', 'copy', `${from}:default/v1`, `${to}:default/v2`, '--refresh');
      expect(await ok('storage', 'volume', 'show', `${to}:default`, 'v2/s1')).toContain('name: s1');
      await ok('storage', 'volume', 'delete', `${to}:default`, 'v2');
      await ok('storage', 'volume', 'delete', `${from}:default`, 'v1');
    });
  });
}
