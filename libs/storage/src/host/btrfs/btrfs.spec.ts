import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attachLoop, detachLoop, mountAt } from '#host-kit';
import { silent } from '#kit';
import type { DiskVolume, PoolPlace, StorageDriver } from '../driver.js';
import { unmountAll } from '../files.js';
import { btrfsFactory } from './btrfs.driver.js';

const asRoot = process.getuid?.() === 0;
const container = (name: string): DiskVolume => ({ type: 'container', name, contentType: 'filesystem' });

describe.skipIf(!asRoot)('btrfs', () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'muster-btrfs-'));
  const place: PoolPlace = { name: 'pool', path: join(stateDir, 'storage-pools/pool'), stateDir, config: { size: '512MiB' }, log: silent };
  let driver: StorageDriver;

  beforeAll(async () => {
    mkdirSync(place.path, { recursive: true });
    driver = btrfsFactory.open(place);
    place.config = await driver.createPool();
    await driver.mountPool();
  });
  afterAll(async () => {
    await driver.removePool();
    await unmountAll(place.path);
    rmSync(stateDir, { recursive: true, force: true });
  });

  const subvolume = (path: string): Buffer => execFileSync('btrfs', ['subvolume', 'create', path]);

  it('records a sparse loop file that only root may read', () => {
    expect(place.config).toMatchObject({ source: join(stateDir, 'disks/pool.img'), size: '512MiB', 'volatile.initial_source': '' });
    const file = statSync(place.config['source']!);
    expect([file.mode & 0o777, file.size]).toEqual([0o600, 512 * 1024 * 1024]);
    expect(file.blocks * 512).toBeLessThan(64 * 1024 * 1024);
  });

  it('snapshots, restores, clones, sends and deletes volumes in which a guest made subvolumes, nested and read-only ones too', async () => {
    const volume = container('nest');
    await driver.create(volume);
    const path = driver.path(volume);
    subvolume(`${path}/a`);
    subvolume(`${path}/a/b`);
    writeFileSync(`${path}/a/b/file`, 'deep');
    mkdirSync(`${path}/plain`);
    subvolume(`${path}/plain/c`);
    execFileSync('btrfs', ['property', 'set', '-ts', `${path}/plain/c`, 'ro', 'true']);
    await driver.snapshots!.create(volume, 's');
    writeFileSync(`${path}/a/b/file`, 'changed');
    expect(readFileSync(`${driver.snapshots!.path(volume, 's')}/a/b/file`, 'utf8')).toBe('deep');
    await driver.clone({ volume, snapshot: 's' }, container('copy'));
    writeFileSync(`${driver.path(container('copy'))}/a/b/file`, 'mine');
    expect(() => writeFileSync(`${driver.path(container('copy'))}/plain/c/x`, '')).toThrow('EROFS');
    {
      await using source = await driver.optimized!.source(volume, ['s']);
      await driver.optimized!.receive(container('received'), source);
    }
    expect(readFileSync(`${driver.path(container('received'))}/a/b/file`, 'utf8')).toBe('changed');
    expect(readFileSync(`${driver.snapshots!.path(container('received'), 's')}/a/b/file`, 'utf8')).toBe('deep');
    expect(() => writeFileSync(`${driver.path(container('received'))}/plain/c/x`, '')).toThrow('EROFS');
    writeFileSync(`${driver.path(container('received'))}/a/b/file`, 'mine');
    await driver.snapshots!.restore(volume, 's');
    expect(readFileSync(`${path}/a/b/file`, 'utf8')).toBe('deep');
    for (const one of [volume, container('copy'), container('received')]) await driver.remove(one);
    expect(execFileSync('btrfs', ['subvolume', 'list', place.path]).toString()).toBe('');
  });

  it('keeps a limit over a restore, and tells what is used', async () => {
    const volume = container('limited');
    await driver.create(volume);
    expect(await driver.quotas!.usage(volume)).toBeUndefined();
    await driver.quotas!.set(volume, 8 * 1024 * 1024);
    await driver.snapshots!.create(volume, 's');
    await driver.snapshots!.restore(volume, 's');
    expect(() => writeFileSync(`${driver.path(volume)}/big`, Buffer.alloc(20 * 1024 * 1024))).toThrow();
    expect(await driver.quotas!.usage(volume)).toBeLessThan(8 * 1024 * 1024);
    await driver.quotas!.set(volume, 0);
    writeFileSync(`${driver.path(volume)}/big`, Buffer.alloc(20 * 1024 * 1024));
    await driver.remove(volume);
    expect(await driver.exists(volume)).toBe(false);
  });

  it('goes on after a restore that was cut off at any point', async () => {
    const volume = container('cut');
    await driver.create(volume);
    writeFileSync(`${driver.path(volume)}/file`, 'then');
    await driver.snapshots!.create(volume, 's');
    const aside = `${place.path}/containers/.restoring cut`;
    const cuts: (() => void)[] = [
      () => execFileSync('mv', [driver.path(volume), aside]),
      () => execFileSync('btrfs', ['subvolume', 'snapshot', driver.path(volume), aside]),
    ];
    for (const cut of cuts) {
      writeFileSync(`${driver.path(volume)}/file`, 'now');
      cut();
      await driver.snapshots!.restore(volume, 's');
      expect(readFileSync(`${driver.path(volume)}/file`, 'utf8')).toBe('then');
    }
    expect((await driver.list()).map(({ name }) => name)).toEqual(['cut']);
    await driver.remove(volume);
  });

  it('grows while it is mounted, and never shrinks', async () => {
    const before = (await driver.resources()).space.total;
    const after = { ...place.config, size: '768MiB' };
    await driver.updatePool(after);
    place.config = after;
    expect((await driver.resources()).space.total).toBeGreaterThan(before);
    await expect(driver.updatePool({ ...after, size: '256MiB' })).rejects.toMatchObject({ kind: 'invalid' });
  });

  it('changes its mount options while it is mounted', async () => {
    const after = { ...place.config, 'btrfs.mount_options': 'noatime,user_subvol_rm_allowed' };
    await driver.updatePool(after);
    place.config = after;
    expect(mountAt(place.path)!.options).toContain('noatime');
  });

  it('takes an empty subvolume of another btrfs as its source, and gives it back', async () => {
    const stateDir2 = mkdtempSync(join(tmpdir(), 'muster-btrfs-'));
    const inner: PoolPlace = {
      name: 'inner',
      path: join(stateDir2, 'inner'),
      stateDir: stateDir2,
      config: { source: `${place.path}/custom/other` },
      log: silent,
    };
    mkdirSync(inner.path);
    await expect(btrfsFactory.open({ ...inner, config: { source: join(stateDir2, 'x') } }).createPool()).rejects.toThrow(
      'does not reside on a btrfs',
    );
    const second = btrfsFactory.open(inner);
    inner.config = await second.createPool();
    await second.mountPool();
    await second.create(container('c'));
    expect(statSync(`${place.path}/custom/other/containers/c`).isDirectory()).toBe(true);
    await second.removePool();
    expect(mountAt(inner.path)).toBeUndefined();
    expect((await driver.list()).filter(({ type }) => type === 'custom')).toEqual([]);
    rmSync(stateDir2, { recursive: true });
  });

  it('takes a block device, keeps the name it was given, and finds it again', async () => {
    const stateDir2 = mkdtempSync(join(tmpdir(), 'muster-btrfs-'));
    const file = join(stateDir2, 'disk.img');
    writeFileSync(file, '');
    truncateSync(file, 256 * 1024 * 1024);
    const device = await attachLoop(file);
    try {
      const block: PoolPlace = {
        name: 'block',
        path: join(stateDir2, 'block'),
        stateDir: stateDir2,
        config: { source: device, size: '1GiB' },
        log: silent,
      };
      mkdirSync(block.path);
      for (let round = 0; round < 2; round++) {
        const made = btrfsFactory.open({ ...block });
        const config = await made.createPool();
        expect(config['volatile.initial_source']).toBe(device);
        expect(config['size']).toBeUndefined();
        const pool = btrfsFactory.open({ ...block, config });
        await pool.mountPool();
        await pool.create(container('c'));
        await pool.unmountPool();
        await pool.mountPool();
        expect(await pool.exists(container('c'))).toBe(true);
        await pool.removePool();
        expect(mountAt(block.path)).toBeUndefined();
      }
    } finally {
      await detachLoop(device);
      rmSync(stateDir2, { recursive: true });
    }
  });
});
