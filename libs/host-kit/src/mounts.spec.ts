import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listMounts, mountAt, mountOf, mountsBelow, parseMountinfo } from './mountinfo.js';
import { bindMount, detach, filesystemType, mountFilesystem, remountBind, setPropagation, spaceOf, unmount } from './mounts.js';

describe('mountinfo', () => {
  it('reads optional fields and escapes', () => {
    const text =
      '36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:1 master:2 - ext3 /dev/ro\\134ot rw,errors=continue\n23 27 0:22 / / rw - sysfs sysfs rw\n';
    expect(parseMountinfo(text)).toEqual([
      {
        id: 36,
        parentId: 35,
        device: '98:0',
        root: '/mnt1',
        target: '/mnt 2',
        options: ['rw', 'noatime'],
        propagation: ['shared:1', 'master:2'],
        type: 'ext3',
        source: '/dev/ro\\ot',
        superOptions: ['rw', 'errors=continue'],
      },
      {
        id: 23,
        parentId: 27,
        device: '0:22',
        root: '/',
        target: '/',
        options: ['rw'],
        propagation: [],
        type: 'sysfs',
        source: 'sysfs',
        superOptions: ['rw'],
      },
    ]);
    expect(mountOf('/mnt 2/x', parseMountinfo(text))?.id).toBe(36);
    expect(mountOf('/mnt 23', parseMountinfo(text))?.id).toBe(23);
  });

  it('knows our own', () => {
    expect(mountAt('/proc')?.type).toBe('proc');
    expect(listMounts(process.pid).length).toBe(listMounts().length);
  });
});

describe('mounts', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-kit mounts-'));
    for (const name of ['source', 'target']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'source', 'file'), '');
  });
  afterEach(() => {
    for (const mount of mountsBelow(folder)) detach(mount.target);
    rmSync(folder, { recursive: true });
  });

  it('binds, read-only too, and takes it away again', () => {
    const target = join(folder, 'target');
    bindMount(join(folder, 'source'), target, { readonly: true, nodev: true });
    expect(mountAt(target)?.options).toEqual(expect.arrayContaining(['ro', 'nodev']));
    expect(() => writeFileSync(join(target, 'file'), 'x')).toThrow(/EROFS/);
    remountBind(target, {});
    writeFileSync(join(target, 'file'), 'x');
    setPropagation(target, 'shared');
    expect(mountAt(target)?.propagation[0]).toMatch(/^shared:/);
    setPropagation(target, 'private');
    expect(mountAt(target)?.propagation).toEqual([]);
    detach(target);
    expect(mountAt(target)).toBeUndefined();
    expect(() => detach(target)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('leaves nothing when the source is missing', () => {
    expect(() => bindMount(join(folder, 'none'), join(folder, 'target'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  it('mounts file systems, tells their space, and says when they are in use', async () => {
    const target = join(folder, 'target');
    await mountFilesystem('tmpfs', target, { type: 'tmpfs', options: ['size=4M'] });
    expect(await filesystemType(target)).toBe('tmpfs');
    expect(await spaceOf(target)).toMatchObject({ sizeBytes: 4 * 1024 * 1024, usedBytes: 0 });
    const before = process.cwd();
    process.chdir(target);
    await expect(unmount(target)).rejects.toMatchObject({ kind: 'conflict' });
    process.chdir(before);
    await unmount(target);
    expect(mountAt(target)).toBeUndefined();
  });

  it('gives the reason of a refused mount as detail', async () => {
    await expect(mountFilesystem('/dev/null', join(folder, 'target'), { type: 'ext4' })).rejects.toMatchObject({
      kind: 'internal',
      detail: expect.stringContaining('/dev/null'),
    });
  });
});
