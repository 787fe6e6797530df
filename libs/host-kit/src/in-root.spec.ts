import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Fault } from '#kit';
import { check, libc } from './libc.js';
import { RootDir } from './in-root.js';
import { bindMount, detach, mountFilesystem } from './mounts.js';
import { mountsBelow } from './mountinfo.js';
import { spawn } from './spawn.js';

describe('RootDir', () => {
  let folder: string;
  let root: RootDir;
  const host = (...names: string[]): string => join(folder, 'root', ...names);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-kit-root-'));
    mkdirSync(host('etc'), { recursive: true });
    mkdirSync(join(folder, 'outside'));
    writeFileSync(join(folder, 'outside', 'secret'), 'SECRET');
    writeFileSync(host('etc/passwd'), 'inside');
    root = RootDir.open(host());
  });
  afterEach(() => {
    root[Symbol.dispose]();
    for (const mount of mountsBelow(folder)) detach(mount.target);
    rmSync(folder, { recursive: true });
  });

  const read = async (path: string): Promise<string> => String(await root.readFile(path, 100));

  it('reads inside whatever links say', async () => {
    symlinkSync('/etc/passwd', host('absolute'));
    symlinkSync('../../../../etc/passwd', host('relative'));
    symlinkSync('/proc/self/root/etc/passwd', host('magic'));
    for (const path of ['etc/passwd', '/etc/passwd', 'absolute', 'relative', '../../etc/passwd']) expect(await read(path)).toBe('inside');
    await expect(read('magic')).rejects.toMatchObject({ kind: 'notFound' });
    await expect(read('etc')).rejects.toMatchObject({ kind: 'invalid' });
    await expect(read('etc/passwd/x')).rejects.toMatchObject({ kind: 'invalid' });
    await expect(root.readFile('etc/passwd', 3)).rejects.toMatchObject({ kind: 'tooLarge' });
  });

  it('renames over what is there only where that is wanted', async () => {
    writeFileSync(host('new'), 'new');
    expect(() => root.rename('new', 'etc/passwd', { replace: false })).toThrow(Fault);
    expect(await read('etc/passwd')).toBe('inside');
    root.rename('new', 'etc/passwd');
    expect(await read('etc/passwd')).toBe('new');
  });

  it('gives a file a second name, and a link nobody else’s', async () => {
    root.link('etc/passwd', 'second');
    expect(statSync(host('second')).ino).toBe(statSync(host('etc/passwd')).ino);
    expect(() => root.link('etc/passwd', 'second')).toThrow('already exists');
    symlinkSync(join(folder, 'outside', 'secret'), host('out'));
    root.link('out', 'etc/out');
    await expect(read('etc/out')).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('makes files with owner and mode as asked', () => {
    const before = process.umask(0o077);
    try {
      using file = root.openForWriting('new', { mode: 0o4755, owner: { uid: 1000, gid: 1001 }, exclusive: true });
      expect(file.created).toBe(true);
    } finally {
      process.umask(before);
    }
    expect(statSync(host('new'))).toMatchObject({ uid: 1000, gid: 1001, mode: 0o104755 });
    expect(() => root.openForWriting('new', { exclusive: true })).toThrow(expect.objectContaining({ kind: 'conflict' }));
  });

  it('empties or extends what exists', async () => {
    const write = async (text: string, append: boolean): Promise<void> => {
      const stream = root.openForWriting('etc/passwd', { append }).writeStream();
      await new Promise<void>((resolve) => stream.end(text, resolve));
    };
    await write('first', false);
    await write('+second', true);
    expect(await read('etc/passwd')).toBe('first+second');
  });

  it('writes through a dangling link to where it points inside', async () => {
    symlinkSync('../etc/made', host('etc/link'));
    symlinkSync('/etc/link', host('link'));
    root.openForWriting('link')[Symbol.dispose]();
    expect(existsSync(host('etc/made'))).toBe(true);
    symlinkSync('loop', host('loop'));
    expect(() => root.openForWriting('loop')).toThrow(expect.objectContaining({ kind: 'invalid' }));
  });

  it('opens no FIFO and no device', async () => {
    execFileSync('mkfifo', [host('fifo')]);
    execFileSync('mknod', [host('null'), 'c', '1', '3']);
    for (const path of ['fifo', 'null']) {
      await expect(read(path)).rejects.toMatchObject({ kind: 'invalid' });
      expect(() => root.openForWriting(path)).toThrow(expect.objectContaining({ kind: 'invalid' }));
    }
  });

  it('makes device files', () => {
    root.makeDevice('kvm', { type: 'char', major: 10, minor: 232 }, 0o666, { uid: 100_000, gid: 100_036 });
    expect(statSync(host('kvm'))).toMatchObject({ uid: 100_000, gid: 100_036, mode: 0o20666, rdev: 10 * 256 + 232 });
    root.makeDevice('large', { type: 'block', major: 259, minor: 70_000 });
    expect(String(execFileSync('stat', ['-c', '%Hr %Lr %F', host('large')]))).toBe('259 70000 block special file\n');
  });

  it('makes, lists, renames and removes', async () => {
    root.makeDirectory('/dir', 0o1777, { uid: 5, gid: 6 });
    expect(statSync(host('dir'))).toMatchObject({ uid: 5, gid: 6, mode: 0o41777 });
    root.makeDirectories('dir/a/b');
    root.makeDirectories('dir/a/b');
    root.makeDirectories('/');
    root.makeSymlink('/nowhere', 'dir/link', { uid: 7, gid: 8 });
    expect(root.readLink('dir/link')).toBe('/nowhere');
    expect(root.stat('dir/link', false).uid).toBe(7);
    expect((await root.list('dir')).sort()).toEqual(['a', 'link']);
    root.rename('dir/link', 'moved');
    expect(root.exists('dir/link')).toBe(false);
    expect(root.exists('moved')).toBe(true);
    root.setOwner('moved', { uid: 9, gid: 9 });
    expect(root.stat('moved', false).uid).toBe(9);
    expect(() => root.removeDirectory('dir')).toThrow(expect.objectContaining({ kind: 'conflict' }));
    root.removeDirectory('dir/a/b');
    root.unlink('moved');
    expect(() => root.unlink('moved')).toThrow(expect.objectContaining({ kind: 'notFound' }));
    expect(() => root.makeDirectory('..')).toThrow(expect.objectContaining({ kind: 'invalid' }));
    root.setMode('etc/passwd', 0o600);
    root.setTimes('etc/passwd', new Date(1000), new Date(2000));
    expect(root.stat('etc/passwd')).toMatchObject({ mode: 0o100600, mtimeMs: 2000 });
    using etc = root.enter('etc');
    expect(etc.exists('../passwd')).toBe(true);
  });

  it('removes a tree, links and odd names included, and nothing behind links', async () => {
    mkdirSync(host('tree/deep/er'), { recursive: true });
    symlinkSync(join(folder, 'outside'), host('tree/out'));
    symlinkSync('../../../outside', host('tree/deep/out'));
    writeFileSync(Buffer.concat([Buffer.from(host('tree/odd')), Buffer.of(0xff, 0xfe)]), '');
    for (let i = 0; i < 500; i++) writeFileSync(host(`tree/${i}`), '');
    await root.removeTree('tree');
    await root.removeTree('tree');
    await root.removeTree('no/such');
    expect(existsSync(host('tree'))).toBe(false);
    expect(readdirSync(join(folder, 'outside'))).toEqual(['secret']);
  });

  it('empties no mount that lies in a tree', async () => {
    mkdirSync(host('tree/mounted'), { recursive: true });
    bindMount(join(folder, 'outside'), host('tree/mounted'));
    await expect(root.removeTree('tree')).rejects.toMatchObject({ kind: 'conflict' });
    expect(readdirSync(join(folder, 'outside'))).toEqual(['secret']);
  });

  it('crosses mounts, and keeps links in them inside', async () => {
    mkdirSync(host('mnt'));
    await mountFilesystem('tmpfs', host('mnt'), { type: 'tmpfs' });
    mkdirSync(host('mnt/a'));
    writeFileSync(host('mnt/a/file'), 'mounted');
    symlinkSync('/etc/passwd', host('mnt/absolute'));
    symlinkSync('../../../../../etc/passwd', host('mnt/a/relative'));
    symlinkSync('mnt/a', host('into'));
    expect(await read('mnt/a/file')).toBe('mounted');
    expect(await read('into/file')).toBe('mounted');
    expect(await read('mnt/absolute')).toBe('inside');
    expect(await read('mnt/a/relative')).toBe('inside');
    expect(await read('mnt/a/../../etc/passwd')).toBe('inside');
    expect(root.readLink('mnt/absolute')).toBe('/etc/passwd');
    expect(() => root.stat('mnt/a/file/')).toThrow(expect.objectContaining({ kind: 'invalid' }));
    root.openForWriting('mnt/made')[Symbol.dispose]();
    expect((await root.list('mnt')).sort()).toEqual(['a', 'absolute', 'made']);
  });

  it('enters no file system that it must not', async () => {
    mkdirSync(host('mnt'));
    await mountFilesystem('tmpfs', host('mnt'), { type: 'tmpfs' });
    writeFileSync(host('mnt/file'), '');
    symlinkSync('/mnt/file', host('link'));
    using careful = RootDir.open(host(), { mayEnter: (type) => type !== 'tmpfs' });
    for (const path of ['mnt/file', 'link', 'mnt']) expect(() => careful.stat(path)).toThrow(expect.objectContaining({ kind: 'unsupported' }));
    expect(careful.exists('etc/passwd')).toBe(true);
  });

  it.skipIf(!existsSync('/dev/fuse'))('does not wait for a FUSE that never answers', async () => {
    mkdirSync(host('mnt'));
    mkdirSync(host('tree/mnt'), { recursive: true });
    symlinkSync('mnt/x/y', host('link'));
    const server = openSync('/dev/fuse', 'r+');
    try {
      for (const path of ['mnt', 'tree/mnt'])
        check(libc.mount('never', host(path), 'fuse', 0, `fd=${server},rootmode=40000,user_id=0,group_id=0`), 'mount');
      for (const path of ['mnt', 'mnt/x', 'link']) {
        expect(() => root.stat(path)).toThrow(expect.objectContaining({ kind: 'unsupported' }));
        expect(() => root.openForWriting(path)).toThrow(Fault);
      }
      await expect(root.list('mnt')).rejects.toMatchObject({ kind: 'unsupported' });
      await expect(root.removeTree('tree')).rejects.toMatchObject({ kind: 'conflict' });
      await expect(root.removeTree('mnt')).rejects.toMatchObject({ kind: 'conflict' });
    } finally {
      closeSync(server);
    }
  });

  it('stays inside while directories are swapped for links under it', () => {
    mkdirSync(host('a'));
    const script = 'use strict; while (1) { rename "a","b"; symlink "../outside","a"; unlink "a"; rename "b","a" }';
    const attacker = spawn({ path: '/usr/bin/perl', args: ['-e', script], cwd: host() });
    try {
      let made = 0;
      const end = performance.now() + 500;
      for (let i = 0; performance.now() < end; i++) {
        try {
          root.openForWriting(`a/x${i}`, { exclusive: true })[Symbol.dispose]();
          made++;
        } catch {
          // The directory was away or a link that leads nowhere inside: both are right.
        }
      }
      expect(made).toBeGreaterThan(0);
    } finally {
      attacker.kill('SIGKILL');
    }
    expect(readdirSync(join(folder, 'outside'))).toEqual(['secret']);
    expect(readFileSync(join(folder, 'outside', 'secret'), 'utf8')).toBe('SECRET');
  });
});
