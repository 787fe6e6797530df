import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findProgram } from '#host-kit';
import { readMetadata } from './read-metadata.js';
import { unpackImage } from './unpack.js';

const work = mkdtempSync(join(tmpdir(), 'muster-unpack-'));
const tree = join(work, 'tree');
afterAll(() => rmSync(work, { recursive: true, force: true }));

beforeAll(() => {
  mkdirSync(`${tree}/rootfs/etc`, { recursive: true });
  mkdirSync(`${tree}/templates`);
  writeFileSync(`${tree}/metadata.yaml`, 'architecture: amd64\ncreation_date: 1700000000\nproperties: {os: test, serial: 20230101}\n');
  writeFileSync(`${tree}/templates/hostname.tpl`, 'x');
  writeFileSync(`${tree}/rootfs/etc/passwd`, 'root', { mode: 0o640 });
  execFileSync('ln', [`${tree}/rootfs/etc/passwd`, `${tree}/rootfs/etc/hard`]);
  symlinkSync('/proc/mounts', `${tree}/rootfs/etc/mtab`);
});

let number = 0;
const fresh = (): string => {
  const path = join(work, `out${(number += 1)}`);
  mkdirSync(path);
  return path;
};
const packed = (...command: [string, ...string[]]): string => {
  const file = join(work, `image${(number += 1)}`);
  const tar = execFileSync('tar', ['-C', tree, '--numeric-owner', '--owner=1000', '--group=1001', '-cf', '-', '.'], { maxBuffer: 1e8 });
  writeFileSync(file, command[0] === 'cat' ? tar : execFileSync(command[0], command.slice(1), { input: tar, maxBuffer: 1e8 }));
  return file;
};

describe('an image', () => {
  const ways: [string, ...string[]][] = [
    ['cat'],
    ['gzip', '-c'],
    ['bzip2', '-c'],
    ['xz', '-c'],
    ['zstd', '-cq'],
    ['lz4', '-cq'],
    ['xz', '-c', '--format=lzma'],
  ];
  it.each(ways.filter(([program]) => findProgram(program)))('is read and unpacked as it was packed by %s', async (...command) => {
    const metaPath = packed(...command);
    expect(await readMetadata(metaPath)).toMatchObject({
      metadata: { architecture: 'x86_64', properties: { os: 'test', serial: '20230101' } },
      type: 'container',
    });
    const out = fresh();
    await unpackImage({ metaPath, metaSize: 0 }, out);
    const passwd = statSync(`${out}/rootfs/etc/passwd`);
    expect([passwd.uid, passwd.gid, passwd.mode & 0o777, passwd.nlink]).toEqual([1000, 1001, 0o640, 2]);
    expect(lstatSync(`${out}/rootfs/etc/mtab`).isSymbolicLink()).toBe(true);
    expect(readFileSync(`${out}/templates/hostname.tpl`, 'utf8')).toBe('x');
  });

  it.skipIf(!findProgram('mksquashfs'))('may be split, with a squashfs as its root', async () => {
    const [metaPath, rootfsPath] = [join(work, 'meta.tar'), join(work, 'root.squashfs')];
    execFileSync('tar', ['-C', tree, '-cf', metaPath, 'metadata.yaml', 'templates']);
    execFileSync('mksquashfs', [`${tree}/rootfs`, rootfsPath, '-noappend', '-quiet', '-no-progress']);
    expect((await readMetadata(metaPath)).type).toBe('unknown');
    const out = fresh();
    await unpackImage({ metaPath, metaSize: 0, rootfsPath, rootfsSize: 0 }, out);
    expect(readFileSync(`${out}/rootfs/etc/passwd`, 'utf8')).toBe('root');
  });

  it('is refused in clear words when it is none', async () => {
    const file = join(work, 'junk');
    writeFileSync(file, 'this is not an image at all');
    await expect(readMetadata(file)).rejects.toMatchObject({ kind: 'invalid', message: 'Unsupported compression' });
    const cut = packed('gzip', '-c');
    writeFileSync(cut, readFileSync(cut).subarray(0, 60));
    await expect(readMetadata(cut)).rejects.toMatchObject({ kind: 'invalid' });
    await expect(unpackImage({ metaPath: cut, metaSize: 0 }, fresh())).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('an image that would get out', () => {
  type Entry = { name: string; type?: 'file' | 'symlink' | 'link' | 'directory'; linkname?: string; text?: string };
  const metadata: Entry = { name: 'metadata.yaml', text: 'architecture: x86_64\ncreation_date: 1\n' };
  async function evil(entries: Entry[]): Promise<{ metaPath: string; metaSize: number }> {
    const tar = pack();
    for (const { name, type = 'file', linkname, text } of entries)
      tar.entry({ name, type, linkname, mode: 0o755 }, type === 'file' ? (text ?? '') : '');
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
    const metaPath = join(work, `evil${(number += 1)}`);
    writeFileSync(metaPath, Buffer.concat(chunks));
    return { metaPath, metaSize: 0 };
  }
  const outside = join(work, 'outside');
  const rootfs: Entry = { name: 'rootfs/', type: 'directory' };

  it.each<[string, Entry[]]>([
    ['by dots', [metadata, rootfs, { name: '../outside', text: 'x' }]],
    ['by dots below', [metadata, rootfs, { name: 'rootfs/../../outside', text: 'x' }]],
    [
      'through an absolute symlink',
      [metadata, rootfs, { name: 'rootfs/l', type: 'symlink', linkname: work }, { name: 'rootfs/l/outside', text: 'x' }],
    ],
    [
      'through a symlink upwards',
      [metadata, rootfs, { name: 'rootfs/l', type: 'symlink', linkname: '../..' }, { name: 'rootfs/l/outside', text: 'x' }],
    ],
  ])('%s is refused, and nothing is outside', async (_, entries) => {
    await expect(unpackImage(await evil(entries), fresh())).rejects.toMatchObject({ kind: 'invalid' });
    expect(existsSync(outside)).toBe(false);
  });

  it('by an absolute name stays inside', async () => {
    const out = fresh();
    await unpackImage(await evil([metadata, rootfs, { name: outside, text: 'x' }]), out);
    expect(existsSync(outside)).toBe(false);
    expect(existsSync(`${out}${outside}`)).toBe(true);
  });

  it('by a hard link to a file of the host is refused', async () => {
    writeFileSync(join(work, 'secret'), 'secret');
    const target = join(work, 'secret');
    await expect(unpackImage(await evil([metadata, rootfs, { name: 'rootfs/h', type: 'link', linkname: target }]), fresh())).rejects.toMatchObject({
      kind: 'invalid',
    });
    expect(statSync(target).nlink).toBe(1);
  });

  it('by a link where its root, its metadata or its templates should be is refused', async () => {
    const link = (name: string): Entry => ({ name, type: 'symlink', linkname: work });
    const split = await evil([{ name: 'rootfs/etc', text: 'x' }]);
    await expect(unpackImage({ ...(await evil([metadata, link('rootfs')])), rootfsPath: split.metaPath, rootfsSize: 0 }, fresh())).rejects.toThrow(
      'not a directory',
    );
    await expect(unpackImage(await evil([rootfs, { name: 'metadata.yaml', type: 'symlink', linkname: '/etc/passwd' }]), fresh())).rejects.toThrow(
      'not a file',
    );
    await expect(unpackImage(await evil([metadata, rootfs, link('templates')]), fresh())).rejects.toThrow('not a directory');
    const template: Entry = { name: 'templates/a.tpl', type: 'symlink', linkname: '/etc/shadow' };
    await expect(unpackImage(await evil([metadata, rootfs, template]), fresh())).rejects.toThrow('not a file');
  });

  it('from memory, by metadata that is huge or expands without end, is refused', async () => {
    await expect(readMetadata((await evil([{ ...metadata, text: 'a'.repeat(2_000_000) }, rootfs])).metaPath)).rejects.toThrow('too large');
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
      .split('')
      .map((name, index) => `${name}: &${name} [${`*${'abcdefgh'[index]},`.repeat(9)}]`)
      .join('\n')}\n`;
    await expect(readMetadata((await evil([{ ...metadata, text: bomb }, rootfs])).metaPath)).rejects.toMatchObject({ kind: 'invalid' });
  });
});
