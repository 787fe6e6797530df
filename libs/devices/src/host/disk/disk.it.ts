import { chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseIdmap, listMounts } from '#host-kit';
import type { MountedVolume, StorageHost } from '#storage/host';
import { createVolume, definePool, poolMade } from '#storage/state';
import { internalIdentity } from '#replica/state';
import { Rig } from '../testing/rig.js';
import { DiskDriver } from './disk.driver.js';

/** Real disks in real containers. Needs root and lxc. */
const rig = new Rig();
const idmap = baseIdmap(100_000, 65_536);
let disk: DiskDriver;
let source: string;

beforeAll(async () => {
  await rig.open({}, false);
  disk = new DiskDriver(rig.context, {} as StorageHost);
  source = join(rig.stateDir, 'a source');
  mkdirSync(source);
  writeFileSync(join(source, 'file'), 'hello\n');
  chownSync(join(source, 'file'), 1000, 1000);
});
afterAll(() => rig.close());

const owner = (id: number, name: string, device: Record<string, string>, more = {}) => rig.owner(id, name, { d: device }, { idmap, ...more });

describe('a disk of the host', () => {
  it('is there from the start: folders, files, read-only ones, and shifted ones', async () => {
    const devices = {
      dir: { type: 'disk', source, path: '/mnt/some dir' },
      ro: { type: 'disk', source, path: 'mnt/ro', readonly: 'true' },
      file: { type: 'disk', source: join(source, 'file'), path: '/etc/a-file' },
      shifted: { type: 'disk', source, path: '/mnt/shifted', shift: 'true' },
      gone: { type: 'disk', source: '/no/such', path: '/mnt/gone', required: 'false' },
    };
    const prepared = [];
    for (const [name, device] of Object.entries(devices)) prepared.push(await disk.prepare(owner(1, 'd1', device), name, device));
    await rig.start('d1', prepared, idmap);
    expect(await rig.inside('d1', 'cat', '/mnt/some dir/file')).toBe('hello');
    expect(await rig.inside('d1', 'touch', '/mnt/ro/x')).toContain('Read-only file system');
    expect(await rig.inside('d1', 'cat', '/etc/a-file')).toBe('hello');
    expect(await rig.inside('d1', 'stat', '-c', '%u', '/mnt/some dir/file')).toBe('65534');
    expect(await rig.inside('d1', 'stat', '-c', '%u', '/mnt/shifted/file')).toBe('1000');
    expect(await rig.inside('d1', 'ls', '/mnt')).not.toContain('gone');
    await rig.stop('d1');
    await expect(disk.prepare(owner(1, 'd1', {}), 'd', { type: 'disk', source: '/no/such', path: '/x' })).rejects.toThrow(
      'Missing source path "/no/such" for disk "d"',
    );
  });

  it('comes into a running container and goes again', async () => {
    const pid = await rig.start('d2', [], idmap);
    const device = { type: 'disk', source, path: '/srv/deep/dir', shift: 'true' };
    const running = owner(2, 'd2', device, { pid });
    await disk.attach(running, 'd', device);
    expect(await rig.inside('d2', 'stat', '-c', '%u', '/srv/deep/dir/file')).toBe('1000');
    expect(await rig.inside('d2', 'touch', '/srv/deep/dir/x')).toBe('');
    expect(statSync(join(source, 'x')).uid).toBe(0);
    await disk.detach(running, 'd', device);
    await disk.detach(running, 'd', device);
    expect(await rig.inside('d2', 'ls', '/srv/deep')).toBe('');

    const file = { type: 'disk', source: join(source, 'file'), path: '/etc/note', readonly: 'true' };
    await disk.attach(running, 'f', file);
    expect(await rig.inside('d2', 'cat', '/etc/note')).toBe('hello');
    await disk.detach(running, 'f', file);
    expect(await rig.inside('d2', 'cat', '/etc/note')).toContain('No such file');

    // The container cannot lead the mount elsewhere.
    await rig.inside('d2', 'ln', '-s', '/../../..', '/trap');
    await disk.attach(running, 'd', { ...device, path: '/trap/inside' });
    expect(listMounts().some((entry) => entry.target.endsWith('/inside'))).toBe(false);
    expect(await rig.inside('d2', 'ls', '/inside')).toContain('file');
    await disk.detach(running, 'd', { ...device, path: '/trap/inside' });
    expect(await rig.inside('d2', 'ls', '/inside')).toContain('No such file');
    await rig.stop('d2');
    await disk.detach({ ...running, pid: undefined }, 'd', device);
  });
});

describe('a volume of a pool', () => {
  it('is held while an instance runs, and shifted, its owners are the container’s own', async () => {
    const path = join(rig.stateDir, 'volume');
    mkdirSync(path);
    const by = { identity: internalIdentity };
    await rig.replica.submit(definePool, { name: 'default', driver: 'dir', description: '', config: {}, memberId: 1 }, by);
    await rig.replica.submit(poolMade, { name: 'default', memberId: 1, config: {} }, by);
    const row = {
      pool: 'default',
      project: 'default',
      type: 'custom',
      name: 'vol',
      memberId: 1,
      contentType: 'filesystem',
      description: '',
      config: { 'security.shifted': 'true' },
    };
    await rig.replica.submit(createVolume, row as never, by);
    let mounts = 0;
    const storage = {
      remap: async () => {},
      mount: (): Promise<MountedVolume> => {
        mounts++;
        return Promise.resolve({ path, [Symbol.asyncDispose]: async () => void mounts-- });
      },
    } as unknown as StorageHost;
    const volumes = new DiskDriver({ ...rig.context, replica: rig.replica }, storage);
    const device = { type: 'disk', pool: 'default', source: 'vol', path: '/data' };
    const running = owner(3, 'd3', device);
    await rig.start('d3', [await volumes.prepare(running, 'd', device)], idmap);
    expect(mounts).toBe(1);
    expect(await rig.inside('d3', 'touch', '/data/x')).toBe('');
    expect(await rig.inside('d3', 'stat', '-c', '%u', '/data')).toBe('0');
    await volumes.resume(running, 'd', device);
    expect(mounts).toBe(1);
    await rig.stop('d3');
    await volumes.detach(running, 'd', device);
    await volumes.detach(running, 'd', device);
    expect(mounts).toBe(0);
  });
});
