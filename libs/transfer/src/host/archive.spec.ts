import { chmod, chown, link, lstat, mkdir, mkdtemp, open, readFile, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCompression } from '#images/model';
import { Archive } from './archive-read.js';
import { streamArchive, writeArchive } from './archive-write.js';

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp('/var/tmp/muster-archive-');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function write(parts: { path: string; name: string }[], algorithm: string): Promise<string> {
  const path = join(dir, 'out.tar');
  const file = await open(path, 'wx', 0o600);
  try {
    await writeArchive(parts, file, path, parseCompression(algorithm));
  } finally {
    await file.close();
  }
  return path;
}

/** A tree with what trees of containers have. */
async function makeTree(): Promise<string> {
  const tree = join(dir, 'c,1.[x]');
  await mkdir(join(tree, 'rootfs/bin'), { recursive: true });
  await writeFile(join(tree, 'backup.yaml'), 'x: 1\n');
  await writeFile(join(tree, 'rootfs/bin/a'), 'text');
  await chown(join(tree, 'rootfs/bin/a'), 1000, 100);
  await chmod(join(tree, 'rootfs/bin/a'), 0o4755);
  await link(join(tree, 'rootfs/bin/a'), join(tree, 'rootfs/b'));
  await symlink(join(tree, 'rootfs/bin/a'), join(tree, 'rootfs/absolute'));
  execFileSync('setfattr', ['-n', 'user.x', '-v', '1', join(tree, 'rootfs/bin/a')]);
  execFileSync('setcap', ['cap_net_raw+ep', join(tree, 'rootfs/bin/a')]);
  execFileSync('setfacl', ['-m', 'u:1234:r', join(tree, 'rootfs/bin/a')]);
  execFileSync('mknod', [join(tree, 'rootfs/null'), 'c', '1', '3']);
  const sparse = await open(join(tree, 'rootfs/sparse'), 'wx');
  await sparse.truncate(64 * 1024 * 1024);
  await sparse.close();
  return tree;
}

describe('an archive', () => {
  for (const algorithm of ['none', 'gzip', 'zstd -3', 'xz -0', 'bzip2']) {
    it(`has everything of a tree, and gives it back (${algorithm})`, async () => {
      const tree = await makeTree();
      const index = join(dir, 'index');
      await writeFile(index, 'name: c1\n');
      const file = await write(
        [
          { path: index, name: 'backup/index.yaml' },
          { path: tree, name: 'backup/container' },
        ],
        algorithm,
      );
      expect((await stat(file)).size).toBeLessThan(100_000);
      const archive = await Archive.open(file);
      expect(await archive.text('backup/index.yaml', 100)).toBe('name: c1\n');
      const target = join(dir, 'target');
      await mkdir(target);
      await archive.extract('backup/container', target, { top: false });
      expect((await readdir(target)).sort()).toEqual(['backup.yaml', 'rootfs']);
      const a = await stat(join(target, 'rootfs/bin/a'));
      expect([a.uid, a.gid, a.mode & 0o7777, a.nlink]).toEqual([1000, 100, 0o4755, 2]);
      expect(await readlink(join(target, 'rootfs/absolute'))).toBe(join(tree, 'rootfs/bin/a'));
      const attributes = execFileSync('getfattr', ['-d', '-m', '-', '--absolute-names', join(target, 'rootfs/bin/a')]).toString();
      for (const name of ['user.x', 'security.capability', 'system.posix_acl_access']) expect(attributes).toContain(name);
      expect((await lstat(join(target, 'rootfs/null'))).isCharacterDevice()).toBe(true);
      const sparse = await stat(join(target, 'rootfs/sparse'));
      expect([sparse.size, sparse.blocks]).toEqual([64 * 1024 * 1024, 0]);
    });
  }

  it('gives the owner of its top directory to a volume', async () => {
    const tree = join(dir, 'v');
    await mkdir(tree);
    await chown(tree, 77, 78);
    await writeFile(join(tree, 'f'), 'x');
    const archive = await Archive.open(await write([{ path: tree, name: 'backup/volume' }], 'gzip'));
    const target = join(dir, 'target');
    await mkdir(target);
    await archive.extract('backup/volume', target, { top: true });
    const { uid, gid } = await stat(target);
    expect([uid, gid, await readFile(join(target, 'f'), 'utf8')]).toEqual([77, 78, 'x']);
  });

  it('streams, and breaks where tar does not succeed', async () => {
    const tree = await makeTree();
    let size = 0;
    for await (const chunk of streamArchive([{ path: tree, name: 'x' }])) size += (chunk as Buffer).length;
    expect(size).toBeGreaterThan(1000);
    const broken = streamArchive([{ path: join(dir, 'nothing'), name: 'x' }]);
    await expect(broken.toArray()).rejects.toThrow('Failed to write the archive');
  });

  it('is refused when it is none, is cut, or lacks what is asked for', async () => {
    const noise = join(dir, 'noise');
    await writeFile(noise, 'no archive at all');
    await expect(Archive.open(noise)).rejects.toMatchObject({ kind: 'invalid' });
    const tree = await makeTree();
    const file = await write([{ path: tree, name: 'backup/container' }], 'gzip');
    const archive = await Archive.open(file);
    expect(await archive.text('backup/index.yaml', 100)).toBeUndefined();
    const target = join(dir, 'target');
    await mkdir(target);
    await expect(archive.extract('backup/other', target, { top: false })).rejects.toMatchObject({ kind: 'invalid' });
    await writeFile(file, (await readFile(file)).subarray(0, 300));
    await expect((await Archive.open(file)).extract('backup/container', target, { top: false })).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('a hostile archive', () => {
  it('reaches nothing outside its target', async () => {
    const outside = join(dir, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'secret'), 'secret');
    const script = `
import io, sys, tarfile
t = tarfile.open(sys.argv[1], 'w')
def add(name, data=b'evil', **kw):
    i = tarfile.TarInfo(name)
    for k, v in kw.items(): setattr(i, k, v)
    if i.type == tarfile.REGTYPE: i.size = len(data)
    t.addfile(i, io.BytesIO(data) if i.type == tarfile.REGTYPE else None)
out = sys.argv[2]
add('backup/container', type=tarfile.DIRTYPE, mode=0o755)
add('backup/container/link', type=tarfile.SYMTYPE, linkname=out)
add('backup/container/link/through')
add('backup/container/up', type=tarfile.SYMTYPE, linkname='../../outside')
add('backup/container/up/through2')
add('backup/container/hard', type=tarfile.LNKTYPE, linkname=out + '/secret')
`;
    const file = join(dir, 'evil.tar');
    execFileSync('python3', ['-c', script, file, outside]);
    const target = join(dir, 'a/b/target');
    await mkdir(target, { recursive: true });
    await (await Archive.open(file)).extract('backup/container', target, { top: false }).catch(() => {});
    expect(await readdir(outside)).toEqual(['secret']);
    expect((await stat(join(outside, 'secret'))).nlink).toBe(1);
    expect(await readdir(join(dir, 'a'))).toEqual(['b']);
    const dots = `
import io, sys, tarfile
t = tarfile.open(sys.argv[1], 'w')
i = tarfile.TarInfo('backup/container/../../../escaped'); i.size = 4
t.addfile(i, io.BytesIO(b'evil'))
`;
    execFileSync('python3', ['-c', dots, file]);
    await (await Archive.open(file)).extract('backup/container', target, { top: false }).catch(() => {});
    expect(await readdir(join(dir, 'a/b'))).toEqual(['target']);
    expect(await readdir(join(dir, 'a'))).toEqual(['b']);
  });
});
