import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DiskVolume, OptimizedPlace, StorageDriver } from '#storage/host';

/** A pool of the driver under test, made and mounted, and a way to files in its volumes. */
export interface StorageHarness extends AsyncDisposable {
  driver: StorageDriver;
  write(path: string, file: string, text: string): Promise<void>;
  /** Undefined when there is no such file. */
  read(path: string, file: string): Promise<string | undefined>;
}

const custom = (name: string): DiskVolume => ({ type: 'custom', name, contentType: 'filesystem' });

/**
 * The promises of host/driver.ts, kept by every storage driver. Each test makes volumes of its own and leaves them: removing the pool must take them all.
 * `open` makes a fresh pool; it is called once.
 */
export function storageDriverContract(name: string, open: () => Promise<StorageHarness>): void {
  describe(`storage driver ${name}`, () => {
    let pool: StorageHarness;
    let driver: StorageDriver;

    beforeAll(async () => {
      pool = await open();
      driver = pool.driver;
    }, 120_000);
    afterAll(async () => pool?.[Symbol.asyncDispose](), 120_000);

    const made = async (volume: DiskVolume, text: string): Promise<DiskVolume> => {
      await driver.create(volume);
      await pool.write(driver.path(volume), 'file', text);
      return volume;
    };
    const contents = (volume: DiskVolume, file = 'file'): Promise<string | undefined> => pool.read(driver.path(volume), file);

    it('makes a volume, says that it exists, lists it, and removes it with what is in it', async () => {
      const volume = await made(custom('default_a'), 'hello');
      expect(await driver.exists(volume)).toBe(true);
      expect(await driver.list()).toContainEqual(volume);
      await driver.mount(volume);
      expect(await contents(volume)).toBe('hello');
      await driver.unmount(volume);
      await driver.remove(volume);
      expect(await driver.exists(volume)).toBe(false);
      expect(await driver.list()).not.toContainEqual(volume);
    });

    it('takes a second removal for done, and refuses a second creation', async () => {
      const volume = await made(custom('default_twice'), 'kept');
      await expect(driver.create(volume)).rejects.toMatchObject({ kind: 'conflict' });
      expect(await contents(volume)).toBe('kept');
      await driver.remove(volume);
      await driver.remove(volume);
    });

    it('keeps volumes of different kinds and the same name apart', async () => {
      const one = await made(custom('same'), 'custom');
      const other = await made({ ...one, type: 'container' }, 'container');
      expect([await contents(one), await contents(other)]).toEqual(['custom', 'container']);
    });

    it('renames a volume with its snapshots, and never over another', async () => {
      const volume = await made(custom('default_old'), 'first');
      await driver.snapshots?.create(volume, 's');
      const other = await made(custom('default_other'), 'other');
      await expect(driver.rename(volume, 'default_other')).rejects.toMatchObject({ kind: 'conflict' });
      await driver.rename(volume, 'default_new');
      const renamed = custom('default_new');
      expect([await contents(renamed), await contents(other)]).toEqual(['first', 'other']);
      expect(await driver.exists(volume)).toBe(false);
      if (driver.snapshots) expect(await driver.snapshots.list(renamed)).toEqual(['s']);
    });

    it('clones a volume: the copies then go their own ways', async () => {
      const from = await made(custom('default_from'), 'original');
      const to = custom('default_to');
      await driver.clone({ volume: from }, to);
      await pool.write(driver.path(to), 'file', 'changed');
      expect([await contents(from), await contents(to)]).toEqual(['original', 'changed']);
      await driver.remove(from);
      expect(await contents(to)).toBe('changed');
    });

    it('clones an image that was sealed into a volume that can be written', async () => {
      const image = await made({ type: 'image', name: 'f'.repeat(64), contentType: 'filesystem' }, 'root');
      await driver.seal(image);
      const to: DiskVolume = { type: 'container', name: 'c1', contentType: 'filesystem' };
      await driver.clone({ volume: image }, to);
      await pool.write(driver.path(to), 'file', 'mine');
      expect([await contents(image), await contents(to)]).toEqual(['root', 'mine']);
      await driver.remove(image);
      expect(await driver.exists(image)).toBe(false);
    });

    it('refuses to clone over a volume that exists', async () => {
      const from = await made(custom('default_c1'), 'one');
      const to = await made(custom('default_c2'), 'two');
      await expect(driver.clone({ volume: from }, to)).rejects.toMatchObject({ kind: 'conflict' });
      expect(await contents(to)).toBe('two');
    });

    it('tells how large it is', async () => {
      const { space } = await driver.resources();
      expect(space.total).toBeGreaterThan(0);
      expect(space.used).toBeLessThanOrEqual(space.total);
    });

    it('stays as it is when mounted again', async () => {
      const volume = await made(custom('default_remount'), 'still here');
      await driver.mountPool();
      await driver.unmountPool();
      await driver.mountPool();
      expect(await contents(volume)).toBe('still here');
    });

    describe('snapshots', () => {
      it('keep what was there, are listed in order, and go one by one', async () => {
        const volume = await made(custom('default_snapped'), 'before');
        const snapshots = driver.snapshots!;
        await snapshots.create(volume, 'b');
        await pool.write(driver.path(volume), 'file', 'after');
        await snapshots.create(volume, 'a');
        expect(await snapshots.list(volume)).toEqual(['a', 'b']);
        expect(await pool.read(snapshots.path(volume, 'b'), 'file')).toBe('before');
        expect(await pool.read(snapshots.path(volume, 'a'), 'file')).toBe('after');
        await snapshots.remove(volume, 'b');
        await snapshots.remove(volume, 'b');
        expect(await snapshots.list(volume)).toEqual(['a']);
      });

      it('refuse a name that is taken', async () => {
        const volume = await made(custom('default_taken'), 'x');
        await driver.snapshots!.create(volume, 's');
        await expect(driver.snapshots!.create(volume, 's')).rejects.toMatchObject({ kind: 'conflict' });
      });

      it('bring a volume back, files that came since are gone, and stay for the next time', async () => {
        const volume = await made(custom('default_restored'), 'then');
        await driver.snapshots!.create(volume, 's');
        for (let round = 0; round < 2; round++) {
          await pool.write(driver.path(volume), 'file', 'now');
          await pool.write(driver.path(volume), 'extra', 'new');
          await driver.snapshots!.restore(volume, 's');
          expect([await contents(volume), await contents(volume, 'extra')]).toEqual(['then', undefined]);
        }
        await pool.write(driver.path(volume), 'file', 'writable');
        expect(await contents(volume)).toBe('writable');
      });

      it('are renamed', async () => {
        const volume = await made(custom('default_srename'), 'x');
        await driver.snapshots!.create(volume, 'old');
        await driver.snapshots!.rename(volume, 'old', 'new');
        expect(await driver.snapshots!.list(volume)).toEqual(['new']);
        expect(await pool.read(driver.snapshots!.path(volume, 'new'), 'file')).toBe('x');
      });

      it('are copied to another volume and cloned into a new one', async () => {
        const volume = await made(custom('default_source'), 'past');
        await driver.snapshots!.create(volume, 's');
        await pool.write(driver.path(volume), 'file', 'present');
        const copy = custom('default_copy');
        await driver.clone({ volume }, copy);
        await driver.snapshots!.copy(volume, 's', copy);
        expect(await pool.read(driver.snapshots!.path(copy, 's'), 'file')).toBe('past');
        const born = custom('default_born');
        await driver.clone({ volume, snapshot: 's' }, born);
        await pool.write(driver.path(born), 'more', 'y');
        expect([await contents(born), await contents(copy)]).toEqual(['past', 'present']);
      });

      it('go with their volume', async () => {
        const volume = await made(custom('default_gone'), 'x');
        await driver.snapshots!.create(volume, 's');
        await driver.remove(volume);
        expect(await driver.snapshots!.list(volume)).toEqual([]);
      });
    });

    it('sends volumes in its own format and makes them again of it, if it has one', async () => {
      const { optimized, snapshots } = driver;
      if (!optimized || !snapshots) return;
      const volume = await made(custom('default_sent'), 'one');
      await snapshots.create(volume, 's-1');
      await pool.write(driver.path(volume), 'file', 'two');
      await snapshots.create(volume, 's-2');
      await pool.write(driver.path(volume), 'file', 'three');
      const directory = await mkdtemp('/var/tmp/muster-streams-');
      try {
        const sent = await optimized.send(volume, ['s-1', 's-2'], directory);
        const target = custom('default_received');
        const source = {
          snapshots: ['s-1', 's-2'],
          header: await readFile(sent.headerPath, 'utf8'),
          open: async (place: OptimizedPlace, into: (stream: Readable) => Promise<void>) =>
            into(createReadStream(sent.streams.find((one) => one.snapshot === place.snapshot && one.subvolume === place.subvolume)!.path)),
        };
        await optimized.receive(target, source);
        expect(await contents(target)).toBe('three');
        expect(await Promise.all(['s-1', 's-2'].map((one) => pool.read(snapshots.path(target, one), 'file')))).toEqual(['one', 'two']);
        await pool.write(driver.path(target), 'file', 'four');
        await expect(pool.write(snapshots.path(target, 's-1'), 'file', 'x')).rejects.toThrow();
        const [whole, snapshot] = [custom('default_whole'), custom('default_snapshot')];
        {
          await using direct = await optimized.source(volume, ['s-1', 's-2']);
          await optimized.receive(whole, direct);
          await using one = await optimized.source(volume, [], 's-1');
          await optimized.receive(snapshot, one);
        }
        expect([await contents(whole), await contents(snapshot)]).toEqual(['three', 'one']);
        expect(await snapshots.list(whole)).toEqual(['s-1', 's-2']);
        await pool.write(driver.path(snapshot), 'file', 'x');
        const broken = custom('default_broken');
        const open = async (_: unknown, into: (stream: Readable) => Promise<void>) => into(Readable.from([Buffer.from('no stream')]));
        await expect(optimized.receive(broken, { ...source, open })).rejects.toBeDefined();
        for (const path of ['/../../x', '/a/../b', 'x', '/']) {
          const header = `subvolumes:\n- path: /\n  snapshot: ""\n  readonly: false\n- path: ${path}\n  snapshot: "../.."\n  readonly: false\n`;
          await expect(optimized.receive(broken, { ...source, header })).rejects.toMatchObject({ kind: 'invalid' });
        }
        expect(await driver.exists(broken)).toBe(false);
        expect(await driver.list()).not.toContainEqual(broken);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    });
  });
}
