import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { surplus, survey } from '../../support/leftovers.js';
import { Server } from '../../support/server.js';

let server: Server;
let facts: string[];
const outside = mkdtempSync('/var/tmp/muster-outside-');

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ network: false });
  await server.ok(['init', 'busybox', 'base']);
  await server.api.change('POST', '/1.0/instances/base/backups', { name: 'b', compression_algorithm: 'none' });
  writeFileSync(join(outside, 'secret'), 'untouched');
  facts = await survey(server);
}, 120_000);
afterAll(async () => {
  await server?.stop();
  rmSync(outside, { recursive: true });
}, 120_000);

/** Nothing was written outside, and what was refused left nothing. */
afterEach(async () => {
  expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('untouched');
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(existsSync('/var/tmp/muster-escaped')).toBe(false);
  for (const name of ['evil']) await server.lxc(['delete', '-f', name]);
  for (const { fingerprint, aliases } of await server.api.get<{ fingerprint: string; aliases: { name: string }[] }[]>('/1.0/images?recursion=1'))
    if (!aliases.some(({ name }) => name === 'busybox')) await server.api.change('DELETE', `/1.0/images/${fingerprint}`);
  expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] });
});

interface Member {
  name: string;
  type?: 'directory' | 'symlink' | 'link';
  linkname?: string;
  content?: string;
}
const metadata = JSON.stringify({ architecture: 'x86_64', creation_date: 1_700_000_000, properties: {} });

async function tarOf(members: readonly Member[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of members) archive.entry(header, content ?? '');
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Each tries to leave the directory that it is unpacked to; `root` is where an instance's root lies in the archive. */
const tricks = (root: string, up: string): Record<string, Member[]> => ({
  'a name with ..': [{ name: `${root}/${up}/var/tmp/muster-escaped`, content: 'x' }],
  'an absolute name': [{ name: '/var/tmp/muster-escaped', content: 'x' }],
  'a link and a file through it': [
    { name: `${root}/out`, type: 'symlink', linkname: outside },
    { name: `${root}/out/secret`, content: 'overwritten' },
    { name: `${root}/out/more`, content: 'x' },
  ],
  'a relative link and a file through it': [
    { name: `${root}/out`, type: 'symlink', linkname: `${up}${outside}` },
    { name: `${root}/out/secret`, content: 'overwritten' },
  ],
  'a hard link to outside': [
    { name: `${root}/hard`, type: 'link', linkname: join(outside, 'secret') },
    { name: `${root}/hard`, content: 'overwritten' },
  ],
  'a hard link through a link': [
    { name: `${root}/out`, type: 'symlink', linkname: outside },
    { name: `${root}/hard`, type: 'link', linkname: `${root}/out/secret` },
  ],
  'a root that is a link': [{ name: root, type: 'symlink', linkname: outside }],
});

/** Whatever the answer is, an instance made of it reads nothing of the host's through the file API. */
async function readsNothing(): Promise<void> {
  for (const path of ['/out/secret', '/hard']) {
    const { status, text } = await server.api.raw('GET', `/1.0/instances/evil/files?path=${path}`);
    expect(status === 200 && text.includes('untouched')).toBe(false);
  }
}

it.each(Object.keys(tricks('rootfs', '../../../../../../..')))('an image with %s stays inside', async (trick) => {
  const whole: Member[] = [
    { name: 'metadata.yaml', content: metadata },
    { name: 'rootfs', type: 'directory' },
  ];
  const members = tricks('rootfs', '../../../../../../..')[trick]!;
  const file = join(server.dir, 'client/evil.tar.gz');
  writeFileSync(file, gzipSync(await tarOf([...(members.some(({ name }) => name === 'rootfs') ? whole.slice(0, 1) : whole), ...members])));
  const said = await server.api.upload('/1.0/images', file).then(
    (done) => (done as { fingerprint: string }).fingerprint,
    (error: Error) => error,
  );
  rmSync(file);
  if (said instanceof Error) return expect(said.message).toMatch(/./);
  const made = await server.api.change('POST', '/1.0/instances', { name: 'evil', source: { type: 'image', fingerprint: said } }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  console.log(`image, ${trick}: ${made ?? 'unpacked inside'}`);
  if (made === undefined) await readsNothing();
});

it.each(Object.keys(tricks('backup/container/rootfs', '../../../../../../../..')))('a backup with %s stays inside', async (trick) => {
  const good = join(server.dir, 'client/good.tar');
  writeFileSync(good, '');
  await server.run('/usr/bin/curl', ['-s', '--unix-socket', server.api.socketPath, '-o', good, 'http://m/1.0/instances/base/backups/b/export'], {});
  const index = execFileSync('tar', ['-xOf', good, 'backup/index.yaml']).toString();
  const members = tricks('backup/container/rootfs', '../../../../../../../..')[trick]!;
  const rooted: Member[] = members.some(({ name }) => name === 'backup/container/rootfs')
    ? []
    : [{ name: 'backup/container/rootfs', type: 'directory' }];
  const file = join(server.dir, 'client/evil.tar');
  writeFileSync(
    file,
    await tarOf([
      { name: 'backup', type: 'directory' },
      { name: 'backup/index.yaml', content: index },
      { name: 'backup/container', type: 'directory' },
      { name: 'backup/container/metadata.yaml', content: metadata },
      ...rooted,
      ...members,
    ]),
  );
  const made = await server.api.upload('/1.0/instances', file, { 'X-LXD-name': 'evil' }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  for (const one of [file, good]) rmSync(one);
  console.log(`backup, ${trick}: ${made ?? 'unpacked inside'}`);
  if (made === undefined) await readsNothing();
});

it('refuses archives that are none, with a clear sentence', async () => {
  const file = join(server.dir, 'client/none');
  for (const [bytes, url, headers] of [
    [Buffer.from('not an image at all'), '/1.0/images', {}],
    [gzipSync(Buffer.alloc(100_000)).subarray(0, 90), '/1.0/images', {}],
    [await tarOf([{ name: 'metadata.yaml', content: '{{{' }]), '/1.0/images', {}],
    [await tarOf([{ name: 'rootfs', type: 'directory' }]), '/1.0/images', {}],
    [Buffer.from('not a backup'), '/1.0/instances', { 'X-LXD-name': 'evil' }],
    [await tarOf([{ name: 'backup/index.yaml', content: 'name: [' }]), '/1.0/instances', { 'X-LXD-name': 'evil' }],
    [
      await tarOf([{ name: 'backup/index.yaml', content: 'name: ../x\nbackend: dir\npool: default\n' }]),
      '/1.0/instances',
      { 'X-LXD-name': '../../x' },
    ],
  ] as const) {
    writeFileSync(file, bytes);
    const failure = await server.api.upload(url, file, headers).then(
      () => 'accepted',
      (error: Error) => error.message,
    );
    console.log(`${url}: ${failure}`);
    expect(failure).not.toMatch(/accepted|Internal error|TypeError|undefined/);
  }
  rmSync(file);
});
