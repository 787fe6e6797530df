import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { silent, systemClock } from '#kit';
import type { HostContext } from '#members';
import type { RunningOperation } from '#operations/host';
import { profilesState } from '#profiles/state';
import { projectsState } from '#projects/state';
import { internalIdentity as identity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import * as state from '../state/index.js';
import type { RemoteImage } from './image-host.js';
import { ImagePost } from './image-post.js';
import { LocalImages } from './local-images.js';
import { publishImage } from './publish.js';
import { refreshImage } from './upkeep.js';

const work = mkdtempSync(join(tmpdir(), 'muster-sources-'));
const call = { identity, requestId: '' };
let context: HostContext;
let images: LocalImages;
/** What the web server has: path → bytes. */
let served: Record<string, Buffer | { headers: Record<string, string> }> = {};
let hits: string[] = [];
let base = '';
const server = http.createServer((request, response) => {
  hits.push(`${request.method} ${request.url}`);
  const found = served[request.url!];
  if (!found) return void response.writeHead(404).end();
  if (Buffer.isBuffer(found)) return void response.writeHead(200, { 'content-length': found.length }).end(found);
  response.writeHead(200, found.headers).end();
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(work, { recursive: true, force: true });
});
beforeEach(async () => {
  hits = [];
  const stateDir = mkdtempSync(join(work, 'state-'));
  context = {
    replica: await MemoryReplica.open({ wings: [projectsState, profilesState, state.imagesState] }),
    server: { stateDir, memberId: 1 } as HostContext['server'],
    clock: systemClock,
    log: silent,
  } as unknown as HostContext;
  images = new LocalImages(context, { removeImage: async () => {}, cacheInPlaceOf: async () => {} });
  await images.start();
});
afterEach(() => rmSync(context.server.stateDir, { recursive: true, force: true }));

let trees = 0;
function tar(files: Record<string, string>, ...compress: string[]): Buffer {
  const tree = join(work, `tree${(trees += 1)}`);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(tree, path, '..'), { recursive: true });
    writeFileSync(join(tree, path), text);
  }
  return execFileSync('tar', ['-C', tree, ...compress, '-cf', '-', '.']);
}
const sha256 = (...bytes: Buffer[]): string => createHash('sha256').update(Buffer.concat(bytes)).digest('hex');
const metadata = 'architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: archive}\n';
const fetching = { project: 'default', autoUpdate: true, public: false, cached: true, context: call };

describe('a simplestreams server', () => {
  const [meta, squashfs, xz] = [tar({ 'metadata.yaml': metadata }), Buffer.from('hsqs pretend'), Buffer.from('xz pretend')];
  const newer = tar({ 'metadata.yaml': `${metadata}# newer\n` });
  const remote = (name: string): RemoteImage => ({
    server: base,
    protocol: 'simplestreams',
    certificate: '',
    secret: '',
    name,
    imageType: '',
    project: '',
  });
  const version = (bytes: Buffer, rootfs: 'both' | 'xz' = 'both') => ({
    items: {
      'lxd.tar.xz': {
        ftype: 'lxd.tar.xz',
        path: `images/${sha256(bytes)}`,
        combined_squashfs_sha256: sha256(bytes, squashfs),
        combined_rootxz_sha256: sha256(bytes, xz),
      },
      ...(rootfs === 'both' ? { 'root.squashfs': { ftype: 'squashfs', path: 'images/root.squashfs' } } : {}),
      'root.tar.xz': { ftype: 'root.tar.xz', path: 'images/root.tar.xz' },
    },
  });
  const product = (versions: Record<string, unknown>, arch = 'amd64') => ({
    aliases: 'alpine/3.18, alpine/3.18/default',
    arch,
    os: 'Alpine',
    release: '3.18',
    variant: 'default',
    requirements: { secureboot: 'false' },
    versions,
  });
  function serve(versions: Record<string, unknown>): void {
    const products = { 'alpine:3.18:arm64': product(versions, 'riscv32'), 'alpine:3.18:amd64': product(versions) };
    served = {
      '/streams/v1/index.json': Buffer.from(JSON.stringify({ index: { images: { datatype: 'image-downloads', path: 'streams/v1/images.json' } } })),
      '/streams/v1/images.json': Buffer.from(JSON.stringify({ products })),
      [`/images/${sha256(meta)}`]: meta,
      [`/images/${sha256(newer)}`]: newer,
      '/images/root.squashfs': squashfs,
      '/images/root.tar.xz': xz,
    };
  }

  it('gives the newest image of an alias for this machine, in two files, hashed as one', async () => {
    serve({ '20230101_13:00': version(newer), '20240101_13:00': version(meta) });
    const fingerprint = await images.fetch(remote('alpine/3.18'), fetching);
    expect(fingerprint).toBe(sha256(meta, squashfs));
    expect(state.image(context.replica.reader, 'default', fingerprint)).toMatchObject({
      type: 'container',
      cached: true,
      properties: {
        os: 'Alpine',
        release: '3.18',
        serial: '20240101_13:00',
        description: 'Alpine 3.18 amd64 (20240101_13:00)',
        'requirements.secureboot': 'false',
      },
      source: { server: base, protocol: 'simplestreams', alias: 'alpine/3.18' },
    });
    expect(readdirSync(`${context.server.stateDir}/images`).sort()).toEqual([fingerprint, `${fingerprint}.rootfs`]);
    expect(await images.fetch(remote('alpine/3.18/amd64'), fetching)).toBe(fingerprint);
    expect(hits.filter((hit) => hit.includes('squashfs'))).toHaveLength(1);
  });

  it('is asked again on refresh, and the newer image takes over', async () => {
    serve({ '20230101_13:00': version(meta) });
    const before = await images.fetch(remote('alpine/3.18'), fetching);
    serve({ '20230101_13:00': version(meta), '20240101_13:00': version(newer) });
    const record = state.image(context.replica.reader, 'default', before);
    expect(await refreshImage(images, context, record, { context: call })).toBe(true);
    expect(state.images(context.replica.reader, 'default').map(({ fingerprint }) => fingerprint)).toEqual([sha256(newer, squashfs)]);
  });

  it('that sends other bytes than it says is not believed, and nothing is left', async () => {
    serve({ '20240101_13:00': version(meta) });
    served['/images/root.squashfs'] = Buffer.from('hsqs something else');
    await expect(images.fetch(remote('alpine/3.18'), fetching)).rejects.toThrow("fingerprints don't match");
    expect(readdirSync(`${context.server.stateDir}/images`)).toEqual([]);
    expect(state.images(context.replica.reader, 'default')).toEqual([]);
  });

  it('names what it does not have', async () => {
    serve({ '20240101_13:00': version(meta, 'xz') });
    await expect(images.fetch(remote('debian/12'), fetching)).rejects.toMatchObject({
      kind: 'notFound',
      message: `Image "debian/12" not found on ${base}`,
    });
    expect(await images.fetch(remote('alpine/3.18'), fetching)).toBe(sha256(meta, xz));
  });

  it('is asked once by many who want the same image at once', async () => {
    serve({ '20240101_13:00': version(meta) });
    const all = await Promise.all(Array.from({ length: 8 }, () => images.fetch(remote('alpine/3.18'), fetching)));
    expect(new Set(all).size).toBe(1);
    expect(hits.filter((hit) => hit.includes('squashfs'))).toHaveLength(1);
  });
});

describe('a URL', () => {
  it('tells by its headers where the image is and what it hashes to', async () => {
    const bytes = tar({ 'metadata.yaml': metadata, 'rootfs/x': '' });
    served = {
      '/latest': { headers: { 'LXD-Image-Hash': sha256(bytes), 'LXD-Image-URL': `${base}/a/image.tar` } },
      '/a/image.tar': bytes,
      '/none': { headers: {} },
    };
    const found = await images.findUrl(`${base}/latest`);
    const { fingerprint } = await images.download(found, new ImagePost({ properties: { mine: '1' } }).extras('default'), { context: call });
    expect(state.image(context.replica.reader, 'default', fingerprint)).toMatchObject({
      filename: 'image.tar',
      properties: { os: 'archive', mine: '1' },
    });
    await expect(images.findUrl(`${base}/none`)).rejects.toThrow('Missing LXD-Image-Hash header');
    await expect(images.findUrl('file:///etc/passwd')).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('publishing', () => {
  const operation = { signal: new AbortController().signal, progress: () => {} } as unknown as RunningOperation;
  const bytes = tar({ 'metadata.yaml': metadata, 'rootfs/etc/hostname': 'c1' });
  const publisher = {
    publish: async () => ({
      tar: Readable.from([bytes.subarray(0, 700), bytes.subarray(700)]),
      architecture: 'x86_64',
      type: 'container',
      properties: {},
    }),
  };
  const publish = (compression: string, post: Record<string, unknown> = {}) => {
    const wanted = new ImagePost({
      source: { type: 'container', name: 'c1' },
      properties: { mine: '1' },
      aliases: [{ name: `from-${compression}` }],
      ...post,
    });
    return publishImage(images, publisher, wanted, { project: 'default', requestProject: 'default', compression, operation, call });
  };

  it('makes an image of an instance, compressed as wanted', async () => {
    for (const compression of ['none', 'gzip', 'zstd', 'xz', 'gzip -1 --rsyncable', 'squashfs']) {
      const { fingerprint } = await publish(compression);
      expect(state.alias(context.replica.reader, 'default', `from-${compression}`).target).toBe(fingerprint);
      const out = mkdtempSync(join(work, 'out-'));
      await images.fill(fingerprint, out);
      expect(readdirSync(`${out}/rootfs/etc`)).toEqual(['hostname']);
      await images.remove('default', fingerprint, call);
    }
  });

  it('refuses programs that are no compressors, and options that do not compress', async () => {
    for (const compression of ['sh -c id', 'gzip;id', 'gzip -d', '']) await expect(publish(compression)).rejects.toMatchObject({ kind: 'invalid' });
  });

  it('leaves nothing of an instance that breaks off', async () => {
    const broken = {
      publish: async () => ({
        tar: Readable.from(
          (async function* () {
            yield bytes.subarray(0, 512);
            throw new Error('gone');
          })(),
        ),
        architecture: 'x86_64',
        type: 'container',
        properties: {},
      }),
    };
    const wanted = new ImagePost({ source: { type: 'container', name: 'c1' } });
    await expect(
      publishImage(images, broken, wanted, { project: 'default', requestProject: 'default', compression: 'gzip', operation, call }),
    ).rejects.toThrow();
    expect(readdirSync(`${context.server.stateDir}/images`)).toEqual([]);
  });
});

describe('the directory of images', () => {
  it('is swept at the start of what is half, and of what belongs to no image', async () => {
    const directory = `${context.server.stateDir}/images`;
    for (const name of ['incoming-1234', 'f'.repeat(64), `${'f'.repeat(64)}.rootfs`, 'README']) writeFileSync(`${directory}/${name}`, 'x');
    await images.start();
    expect(readdirSync(directory)).toEqual(['README']);
  });
});
