import { execFileSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { zeroTime, type Image, type StoragePool, type StorageVolume } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

/** Two pools, `default` of dir and `fast` of btrfs, and one container on each. */
let server: Server;
let fingerprint: string;
const volumes = '/1.0/storage-pools/default/volumes';
const read = <T>(path: string): Promise<T> => server.api.get<T>(path);
const refused = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await server.lxc(args);
  expect(code).not.toBe(0);
  return stderr;
};
const mountOf = (pool: string): string => execFileSync('findmnt', ['-no', 'OPTIONS', join(server.dir, 'storage-pools', pool)], { encoding: 'utf8' });

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ network: false });
  [fingerprint] = (await server.api.get<string[]>('/1.0/images')).map((url) => url.split('/').at(-1)!) as [string];
  await server.ok(['storage', 'create', 'fast', 'btrfs', 'size=1GiB']);
  await server.ok(['launch', 'busybox', 'c1']);
  await server.ok(['launch', 'busybox', 'c2', '-s', 'fast']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('lxc storage', () => {
  it('tells which drivers there are', async () => {
    covers('server_supported_storage_drivers');
    const { environment } = await read<{
      environment: { storage: string; storage_version: string; storage_supported_drivers: { Name: string; Remote: boolean }[] };
    }>('/1.0');
    expect(environment.storage_supported_drivers).toEqual(
      expect.arrayContaining([expect.objectContaining({ Name: 'dir', Remote: false }), expect.objectContaining({ Name: 'btrfs', Remote: false })]),
    );
    expect(environment.storage.split(' | ').sort()).toEqual(['btrfs', 'dir']);
  });

  it('remembers the source that a pool was given', async () => {
    covers('storage_volatile_initial_source');
    const file = join(server.dir, 'client/disk');
    execFileSync('truncate', ['-s', '256M', file]);
    const device = execFileSync('losetup', ['-f', '--show', file], { encoding: 'utf8' }).trim();
    try {
      await server.ok(['storage', 'create', 'p1', 'btrfs', `source=${device}`]);
      const { config } = await read<StoragePool>('/1.0/storage-pools/p1');
      expect(config['volatile.initial_source']).toBe(device);
      await server.ok(['storage', 'delete', 'p1']);
    } finally {
      execFileSync('losetup', ['-d', device]);
    }
  });

  it('mounts a pool with the options that it is given, at once', async () => {
    covers('storage_btrfs_mount_options');
    await server.ok(['storage', 'create', 'p1', 'btrfs', 'size=256MiB', 'btrfs.mount_options=noatime,nodatacow']);
    expect(mountOf('p1')).toMatch(/noatime.*nodatacow|nodatacow.*noatime/);
    await server.ok(['storage', 'set', 'p1', 'btrfs.mount_options', 'relatime']);
    expect(mountOf('p1')).toContain('relatime');
    await server.ok(['storage', 'delete', 'p1']);
  });

  it('copies no faster than the pool allows', async () => {
    covers('storage_rsync_bwlimit');
    await server.ok(['storage', 'create', 'p1', 'dir', 'rsync.bwlimit=2MB']);
    await server.ok(['storage', 'volume', 'create', 'p1', 'v1']);
    writeFileSync(join(server.dir, 'storage-pools/p1/custom/default_v1/data'), Buffer.alloc(6_000_000, 1));
    const start = Date.now();
    await server.ok(['storage', 'volume', 'copy', 'p1/v1', 'fast/v1']);
    expect(Date.now() - start).toBeGreaterThan(1500);
    await server.ok(['storage', 'volume', 'delete', 'fast', 'v1']);
    await server.ok(['storage', 'volume', 'delete', 'p1', 'v1']);
    await server.ok(['storage', 'delete', 'p1']);
  });
});

describe('lxc storage volume', () => {
  it('copies and moves custom volumes between pools of any driver', async () => {
    covers('storage_api_local_volume_handling');
    for (const [from, to] of [
      ['default', 'default'],
      ['default', 'fast'],
      ['fast', 'fast'],
      ['fast', 'default'],
    ]) {
      await server.ok(['storage', 'volume', 'create', from!, 'v1', 'user.x=y']);
      await server.ok(['storage', 'volume', 'copy', `${from}/v1`, `${to}/v2`]);
      await server.ok(['storage', 'volume', 'move', `${to}/v2`, `${from}/v3`]);
      expect(await server.ok(['storage', 'volume', 'get', from!, 'v3', 'user.x'])).toBe('y\n');
      for (const name of ['v1', 'v3']) await server.ok(['storage', 'volume', 'delete', from!, name]);
    }
  });

  it('moves a volume to another project', async () => {
    covers('storage_volume_project_move');
    await server.ok(['project', 'create', 'p1', '-c', 'features.storage.volumes=true']);
    for (const pool of ['default', 'fast']) {
      await server.ok(['storage', 'volume', 'create', pool, 'v1', 'user.x=y']);
      await server.ok(['storage', 'volume', 'snapshot', pool, 'v1', 's0']);
      await server.ok(['storage', 'volume', 'move', `${pool}/v1`, `${pool}/v1`, '--target-project', 'p1']);
      expect(await refused('storage', 'volume', 'show', pool, 'v1')).toContain('not found');
      expect(await server.ok(['storage', 'volume', 'show', pool, 'v1/s0', '--project', 'p1'])).toContain('name: s0');
      expect(existsSync(join(server.dir, 'storage-pools', pool, 'custom/p1_v1'))).toBe(true);
    }
  });

  it('lists those of all projects', async () => {
    covers('storage_volumes_all_projects');
    await server.ok(['storage', 'volume', 'create', 'default', 'v1']);
    const all = await read<StorageVolume[]>(`${volumes}/custom?all-projects=true&recursion=1`);
    expect(all.map(({ name, project }) => `${project}/${name}`).sort()).toEqual(['default/v1', 'p1/v1', 'p1/v1/s0']);
    expect(await read(`${volumes}/custom?all-projects=true`)).toContain(`${volumes}/custom/v1?project=p1`);
  });

  it('filters', async () => {
    covers('storage_volume_api_filtering');
    await server.ok(['storage', 'volume', 'create', 'default', 'v2', 'user.x=z']);
    const names = async (filter: string): Promise<string[]> =>
      (await read<StorageVolume[]>(`${volumes}?recursion=1&filter=${encodeURIComponent(filter)}`)).map(({ name }) => name);
    expect(await names('type eq custom and config.user.x eq z')).toEqual(['v2']);
    expect(await names('name eq c1')).toEqual(['c1']);
    expect((await read<string[]>(`${volumes}/custom?filter=${encodeURIComponent('name eq v.')}`)).map((url) => url.split('/').at(-1))).toEqual([
      'v1',
      'v2',
    ]);
    await server.ok(['storage', 'volume', 'delete', 'default', 'v2']);
    await server.ok(['storage', 'volume', 'delete', 'default', 'v1']);
    for (const pool of ['default', 'fast']) await server.ok(['storage', 'volume', 'delete', pool, 'v1', '--project', 'p1']);
    await server.ok(['project', 'delete', 'p1']);
  });

  it('tells how much a volume uses, and of how much', async () => {
    covers('storage_volume_state', 'storage_volume_state_total');
    await server.ok(['storage', 'volume', 'create', 'fast', 'v1', 'size=64MiB']);
    writeFileSync(join(server.dir, 'storage-pools/fast/custom/default_v1/data'), Buffer.alloc(3_000_000, 1));
    execFileSync('sync', ['-f', join(server.dir, 'storage-pools/fast')]);
    await until('the usage', async () => {
      const { usage } = await read<{ usage: { used: number; total: number } }>('/1.0/storage-pools/fast/volumes/custom/v1/state');
      return usage.used > 2_900_000 && usage.used < 4_000_000 && usage.total === 64 * 1024 * 1024;
    });
    expect(await server.ok(['storage', 'volume', 'info', 'fast', 'v1'])).toMatch(/Usage: [23]\.\d+MiB/);
    await server.ok(['storage', 'volume', 'delete', 'fast', 'v1']);
  });

  it('takes snapshots of a volume that expire, and changes when', async () => {
    covers('custom_volume_snapshot_expiry', 'storage_api_volume_snapshots');
    await server.ok(['storage', 'volume', 'create', 'default', 'v1', 'snapshots.expiry=1d']);
    await server.ok(['storage', 'volume', 'snapshot', 'default', 'v1', 's0']);
    await server.ok(['storage', 'volume', 'snapshot', 'default', 'v1', 's1', '--no-expiry']);
    const expiry = async (name: string): Promise<string | null> =>
      (await read<{ description: string; expires_at: string | null }>(`${volumes}/custom/v1/snapshots/${name}`)).expires_at;
    const left = Date.parse((await expiry('s0'))!) - Date.now();
    expect(left / 3_600_000).toBeGreaterThan(23);
    expect(left / 3_600_000).toBeLessThanOrEqual(24);
    expect([null, zeroTime]).toContain(await expiry('s1'));
    const { description } = await read<{ description: string; expires_at: string | null }>(`${volumes}/custom/v1/snapshots/s1`);
    await server.api.change('PUT', `${volumes}/custom/v1/snapshots/s1`, { description, expires_at: '2040-01-02T03:04:05Z' });
    expect(Date.parse((await expiry('s1'))!)).toBe(Date.parse('2040-01-02T03:04:05Z'));
    await server.ok(['storage', 'volume', 'delete', 'default', 'v1']);
  });

  it('brings a copy up to date', async () => {
    covers('custom_volume_refresh');
    const file = (pool: string, name: string): string => join(server.dir, 'storage-pools', pool, 'custom', `default_${name}`, 'data');
    for (const [from, to] of [
      ['default', 'fast'],
      ['fast', 'default'],
    ] as const) {
      await server.ok(['storage', 'volume', 'create', from, 'v1']);
      await server.ok(['storage', 'volume', 'snapshot', from, 'v1', 's0']);
      await server.ok(['storage', 'volume', 'copy', `${from}/v1`, `${to}/v2`]);
      writeFileSync(file(from, 'v1'), 'x');
      await server.ok(['storage', 'volume', 'snapshot', from, 'v1', 's1']);
      await server.ok(['storage', 'volume', 'snapshot', to, 'v2', 'own']);
      await server.ok(['storage', 'volume', 'copy', `${from}/v1`, `${to}/v2`, '--refresh']);
      expect(existsSync(file(to, 'v2'))).toBe(true);
      const names = (await read<string[]>(`/1.0/storage-pools/${to}/volumes/custom/v2/snapshots`)).map((url) => url.split('/').at(-1));
      expect(names).toEqual(['s0', 's1']);
      await server.ok(['storage', 'volume', 'delete', from, 'v1']);
      await server.ok(['storage', 'volume', 'delete', to, 'v2']);
    }
  });
});

describe('owners of files in a custom volume', () => {
  const owner = (volume: string): number => statSync(join(server.dir, 'storage-pools/default/custom', `default_${volume}`)).uid;
  const base = async (instance: string): Promise<number> =>
    Number((await server.ok(['exec', instance, '--', 'cat', '/proc/self/uid_map'])).trim().split(/\s+/)[1]);

  it('are those of the containers that have it, and one of another map may not', async () => {
    await server.ok(['storage', 'volume', 'create', 'default', 'v1']);
    await server.ok(['storage', 'volume', 'attach', 'default', 'v1', 'c1', 'disk', '/mnt']);
    expect(owner('v1')).toBe(await base('c1'));
    await server.ok(['launch', 'busybox', 'c3', '-c', 'security.idmap.isolated=true']);
    expect(await refused('storage', 'volume', 'attach', 'default', 'v1', 'c3', 'disk', '/mnt')).toContain('not identical');
    await server.ok(['storage', 'volume', 'copy', 'default/v1', 'default/v2']);
    await server.ok(['storage', 'volume', 'detach', 'default', 'v1', 'c1', 'disk']);
    for (const volume of ['v1', 'v2']) {
      await server.ok(['storage', 'volume', 'attach', 'default', volume, 'c3', 'disk', '/mnt']);
      expect(owner(volume)).toBe(await base('c3'));
      expect(await server.ok(['exec', 'c3', '--', 'stat', '-c', '%u', '/mnt'])).toBe('0\n');
      await server.ok(['storage', 'volume', 'detach', 'default', volume, 'c3', 'disk']);
      await server.ok(['storage', 'volume', 'delete', 'default', volume]);
    }
    await server.ok(['delete', '-f', 'c3']);
  });

  it('are as in the container where it is shifted, for containers of every map', async () => {
    covers('storage_shifted');
    await server.ok(['storage', 'volume', 'create', 'default', 'v1', 'security.shifted=true']);
    await server.ok(['launch', 'busybox', 'c3', '-c', 'security.idmap.isolated=true']);
    for (const instance of ['c1', 'c3']) {
      await server.ok(['storage', 'volume', 'attach', 'default', 'v1', instance, 'disk', '/mnt']);
      expect(await server.ok(['exec', instance, '--', 'stat', '-c', '%u', '/mnt'])).toBe('0\n');
    }
    expect(owner('v1')).toBe(0);
    for (const instance of ['c1', 'c3']) await server.ok(['storage', 'volume', 'detach', 'default', 'v1', instance, 'disk']);
    await server.ok(['storage', 'volume', 'delete', 'default', 'v1']);
    await server.ok(['delete', '-f', 'c3']);
  });

  it('stay where it is unmapped', async () => {
    covers('storage_unmapped');
    await server.ok(['storage', 'volume', 'create', 'default', 'v1', 'security.unmapped=true']);
    await server.ok(['storage', 'volume', 'attach', 'default', 'v1', 'c1', 'disk', '/mnt']);
    expect(owner('v1')).toBe(0);
    expect(await server.ok(['exec', 'c1', '--', 'stat', '-c', '%u', '/mnt'])).toBe('65534\n');
    await server.ok(['storage', 'volume', 'detach', 'default', 'v1', 'c1', 'disk']);
    await server.ok(['storage', 'volume', 'delete', 'default', 'v1']);
  });
});

describe('subvolumes that a guest made', () => {
  it('go with a copy to another pool of btrfs, read-only ones as such', async () => {
    await server.ok(['storage', 'create', 'other', 'btrfs', 'size=1GiB']);
    const inner = (pool: string, instance: string): string => join(server.dir, 'storage-pools', pool, 'containers', instance, 'rootfs/a');
    await server.ok(['init', 'busybox', 'c3', '-s', 'fast']);
    execFileSync('btrfs', ['-q', 'subvolume', 'create', inner('fast', 'c3')]);
    writeFileSync(join(inner('fast', 'c3'), 'file'), 'x');
    execFileSync('btrfs', ['property', 'set', '-ts', inner('fast', 'c3'), 'ro', 'true']);
    await server.ok(['snapshot', 'c3', 'snap0']);
    for (const from of ['c3', 'c3/snap0']) {
      await server.ok(['copy', from, 'c4', '-s', 'other']);
      expect(() => writeFileSync(join(inner('other', 'c4'), 'more'), 'x')).toThrow('EROFS');
      expect(existsSync(join(inner('other', 'c4'), 'file'))).toBe(true);
      await server.ok(['delete', 'c4']);
    }
    await server.ok(['delete', 'c3']);
    await server.ok(['storage', 'delete', 'other']);
  });
});

describe('block volumes', () => {
  const disk = (pool: string, name: string): number =>
    statSync(join(server.dir, 'storage-pools', pool, 'custom', `default_${name}`, 'root.img')).size;

  it('are copied between pools with their snapshots, and grow', async () => {
    for (const [from, to] of [
      ['default', 'fast'],
      ['fast', 'default'],
    ] as const) {
      await server.ok(['storage', 'volume', 'create', from, 'v1', '--type=block', 'size=4194304', 'user.x=old']);
      await server.ok(['storage', 'volume', 'snapshot', from, 'v1', 's0']);
      await server.ok(['storage', 'volume', 'set', from, 'v1', 'user.x', 'new']);
      await server.ok(['storage', 'volume', 'copy', `${from}/v1`, `${to}/v2`]);
      expect((await read<StorageVolume>(`/1.0/storage-pools/${to}/volumes/custom/v2`)).content_type).toBe('block');
      await server.ok(['storage', 'volume', 'set', to, 'v2', 'size', '8MiB']);
      expect([disk(from, 'v1'), disk(to, 'v2')]).toEqual([4 * 1024 ** 2, 8 * 1024 ** 2]);
      expect(await refused('storage', 'volume', 'set', to, 'v2', 'size', '4MiB')).toContain('cannot be shrunk');
      await server.ok(['storage', 'volume', 'restore', to, 'v2', 's0']);
      expect(await server.ok(['storage', 'volume', 'get', to, 'v2/s0', 'user.x'])).toBe('old\n');
      await server.ok(['storage', 'volume', 'delete', from, 'v1']);
      await server.ok(['storage', 'volume', 'delete', to, 'v2']);
    }
  });

  it('are not for containers', async () => {
    await server.ok(['storage', 'volume', 'create', 'default', 'v1', '--type=block', 'size=4194304']);
    expect(await refused('storage', 'volume', 'attach', 'default', 'v1', 'c1', 'disk', '/mnt')).toContain(
      'Custom block volumes cannot be used on containers',
    );
    await server.ok(['storage', 'volume', 'delete', 'default', 'v1']);
  });
});

describe('lxc image', () => {
  it('has a type', async () => {
    covers('image_types');
    expect((await read<Image>(`/1.0/images/${fingerprint}`)).type).toBe('container');
    expect(await server.ok(['image', 'list', '--format', 'csv', '-c', 'ft', 'type=container'])).toContain('CONTAINER');
    expect(await server.ok(['image', 'list', '--format', 'csv', '-c', 'ft', 'type=virtual-machine'])).toBe('');
  });

  it('expires when its owner says so', async () => {
    covers('images_expiry');
    const image = await read<Image>(`/1.0/images/${fingerprint}`);
    const put = { ...image, expires_at: '2040-01-02T03:04:05Z' };
    await server.api.change('PUT', `/1.0/images/${fingerprint}`, put);
    expect(Date.parse((await read<Image>(`/1.0/images/${fingerprint}`)).expires_at)).toBe(Date.parse('2040-01-02T03:04:05Z'));
    await server.api.change('PUT', `/1.0/images/${fingerprint}`, { ...put, expires_at: image.expires_at });
  });

  it('is replaced by what its source has for its alias now', async () => {
    covers('image_force_refresh');
    expect(await refused('image', 'refresh', 'busybox')).toContain('Image source not found');
    await using source = await Server.start();
    await source.furnish({ network: false });
    const address = `127.0.0.1:${20_000 + (process.pid % 1000)}`;
    await source.api.change('PATCH', '/1.0', { config: { 'core.https_address': address, 'core.trust_password': 'secret' } });
    await source.ok(['init', 'busybox', 'c1']);
    await source.ok(['publish', 'c1', '--alias', 'own', '--public']);
    await server.ok(['remote', 'add', 'source', `https://${address}`, '--password', 'secret', '--accept-certificate']);
    await server.ok(['image', 'copy', 'source:own', 'local:', '--copy-aliases']);
    expect(await server.ok(['image', 'refresh', 'own'])).toContain('up to date');
    const before = await read<Image[]>('/1.0/images?recursion=1');
    await source.ok(['file', 'push', '-', 'c1/root/mark'], { input: 'x' });
    await source.ok(['publish', 'c1', '--alias', 'own', '--public']);
    expect(await server.ok(['image', 'refresh', 'own'])).toContain('refreshed');
    const after = await read<Image[]>('/1.0/images?recursion=1');
    expect(after).toHaveLength(before.length);
    const own = after.find(({ aliases }) => aliases.some(({ name }) => name === 'own'))!;
    expect(before.map((image) => image.fingerprint)).not.toContain(own.fingerprint);
    await server.ok(['image', 'delete', own.fingerprint]);
  });

  it('is published as squashfs, and instances are made of that', async () => {
    await server.ok(['stop', '-f', 'c1']);
    await server.ok(['publish', 'c1', '--alias', 'squashed', '--compression', 'squashfs']);
    await server.ok(['init', 'squashed', 'c3']);
    expect(existsSync(join(server.dir, 'containers/c3/rootfs/bin/busybox'))).toBe(true);
    await server.ok(['export', 'c3', join(server.dir, 'client/c3.squashfs'), '--compression', 'squashfs']);
    await server.ok(['delete', 'c3']);
    await server.ok(['image', 'delete', 'squashed']);
    await server.ok(['start', 'c1']);
  });

  it('leaves a pool by itself, and comes back when it is wanted', async () => {
    covers('storage_images_delete');
    const path = `/1.0/storage-pools/fast/volumes/image/${fingerprint}`;
    expect((await read<StorageVolume>(path)).type).toBe('image');
    await server.ok(['storage', 'volume', 'delete', 'fast', `image/${fingerprint}`]);
    expect((await server.api.raw('GET', path)).status).toBe(404);
    await server.ok(['init', 'busybox', 'c3', '-s', 'fast']);
    expect((await read<StorageVolume>(path)).name).toBe(fingerprint);
    await server.ok(['delete', 'c3']);
  });
});
