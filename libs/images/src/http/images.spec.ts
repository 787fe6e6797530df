import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Image, Operation } from '#api-contract';
import { ImageAgent } from '#images/host';
import { multipartBody } from '#images/model';
import { imagesState } from '#images/state';
import { serveOperations, type Operations } from '#operations/host';
import { operationsControllers } from '#operations/http';
import { createProfile, deleteProfile, profilesState } from '#profiles/state';
import { PROJECT_USAGE, projectsControllers } from '#projects/http';
import { StorageAgent } from '#storage/host';
import { storageControllers } from '#storage/http';
import { internalIdentity } from '#replica/state';
import { storageState } from '#storage/state';
import { TestGateway, type CallOptions, type TestReply } from '#testkit/gateway';
import { imagesControllers } from './index.js';

interface Server {
  gateway: TestGateway;
  storage: StorageAgent;
  images: ImageAgent;
  operations: Operations;
}

async function server(): Promise<Server> {
  const parts = {} as Server;
  parts.gateway = await TestGateway.open({
    controllers: [...imagesControllers, ...storageControllers, ...projectsControllers, ...operationsControllers],
    wings: [profilesState, storageState, imagesState],
    providers: [{ provide: PROJECT_USAGE, useValue: { resources: () => ({}) } }],
    https: true,
    async hosts(context, operations) {
      parts.operations = operations;
      serveOperations(context.members, operations);
      parts.storage = new StorageAgent({ context, operations, warnings: { raise: () => {}, resolve: () => {} } });
      await parts.storage.start();
      parts.images = new ImageAgent({ context, operations, storage: parts.storage.storage, setting: () => '' });
      await parts.images.start();
    },
  });
  return parts;
}

const internal = { identity: internalIdentity, requestId: '' };
let one: Server;
const work = mkdtempSync(join(tmpdir(), 'muster-images-'));
const sha256 = (...bytes: Buffer[]): string => createHash('sha256').update(Buffer.concat(bytes)).digest('hex');

function archive(name: string, files: Record<string, string>): Buffer {
  const tree = join(work, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(tree, path, '..'), { recursive: true });
    writeFileSync(join(tree, path), text);
  }
  return execFileSync('tar', ['-C', tree, '--mtime=@0', '-czf', '-', '.'], { maxBuffer: 1e8 });
}
const metadata = 'architecture: x86_64\ncreation_date: 1700000000\nproperties: {description: busybox test, os: busybox}\n';
const unified = archive('unified', { 'metadata.yaml': metadata, 'rootfs/etc/hostname': 'one' });
const [metaPart, rootPart] = [archive('meta', { 'metadata.yaml': metadata }), archive('root', { 'etc/hostname': 'split' })];
const fingerprint = sha256(unified);

beforeAll(async () => void (one = await server()), 60_000);
afterAll(async () => {
  one.images.stop();
  await one.storage.stop({ unmount: true });
  await one.gateway[Symbol.asyncDispose]();
  rmSync(work, { recursive: true, force: true });
});

const call = (method: string, path: string, options: CallOptions = {}, on = one): Promise<TestReply> => on.gateway.call(method, path, options);

async function done(reply: TestReply, on = one): Promise<Operation> {
  expect(reply.status, reply.text).toBe(202);
  return on.operations.wait((reply.body.metadata as Operation).id, 15_000);
}
const upload = (bytes: Buffer, headers: Record<string, string> = {}, on = one): Promise<Operation> =>
  call('POST', '/1.0/images', { body: bytes, headers }, on).then((reply) => done(reply, on));
const imagesDir = (on = one): string => `${on.gateway.context.server.stateDir}/images`;
const remove = (fp: string): Promise<Operation> => call('DELETE', `/1.0/images/${fp}`).then((reply) => done(reply));
async function multipart(): Promise<{ body: Buffer; headers: Record<string, string> }> {
  const bodies = [metaPart, rootPart];
  const parts = ['metadata', 'rootfs'].map((name, index) => ({
    name,
    filename: `${name}.tar.gz`,
    size: bodies[index]!.length,
    open: async function* () {
      yield bodies[index]!;
    },
  }));
  const { contentType, chunks } = multipartBody(parts);
  const all: Uint8Array[] = [];
  for await (const chunk of chunks()) all.push(chunk);
  return { body: Buffer.concat(all), headers: { 'content-type': contentType } };
}

describe('an uploaded image', () => {
  it('is worked on in the project of the request, whose events its client follows, also where another project has it', async () => {
    expect((await call('POST', '/1.0/projects', { body: { name: 'plain', config: { 'features.images': 'false' } } })).status).toBe(201);
    const projectOf = (reply: TestReply): string | undefined => one.operations.find((reply.body.metadata as Operation).id)?.project;
    const addition = await call('POST', '/1.0/images?project=plain', { body: unified });
    expect([projectOf(addition), (await done(addition)).err]).toEqual(['plain', '']);
    expect((await call('GET', '/1.0/images')).body.metadata).toEqual([`/1.0/images/${fingerprint}`]);
    // Its profiles are those of the project that gives them to it.
    await one.gateway.replica.submit(createProfile, { project: 'plain', name: 'own', description: '', config: {}, devices: {} }, internal);
    expect((await call('PATCH', `/1.0/images/${fingerprint}`, { body: { profiles: ['own'] } })).status).toBe(400);
    expect((await call('PATCH', `/1.0/images/${fingerprint}?project=plain`, { body: { profiles: ['own'] } })).status).toBe(200);
    expect((await call('GET', `/1.0/images/${fingerprint}`)).body.metadata).toMatchObject({ profiles: ['own'] });
    await one.gateway.replica.submit(deleteProfile, { project: 'plain', name: 'own' }, internal);
    const removal = await call('DELETE', `/1.0/images/${fingerprint}?project=plain`);
    expect([projectOf(removal), (await done(removal)).err]).toEqual(['plain', '']);
    await call('DELETE', '/1.0/projects/plain');
  });

  it('has the hash of its bytes as its fingerprint, and is shown as LXD shows it', async () => {
    const operation = await upload(unified, {
      'x-lxd-filename': 'bb.tar.gz',
      'x-lxd-properties': 'os=other&extra=a%20b',
      'content-type': 'application/octet-stream',
    });
    expect(operation).toMatchObject({ err: '', metadata: { fingerprint, size: String(unified.length) } });
    const { body, headers } = await call('GET', `/1.0/images/${fingerprint.slice(0, 12)}`);
    expect(body.metadata).toEqual({
      auto_update: false,
      properties: { description: 'busybox test', os: 'other', extra: 'a b' },
      public: false,
      expires_at: '1970-01-01T00:00:00Z',
      profiles: ['default'],
      aliases: [],
      architecture: 'x86_64',
      cached: false,
      filename: 'bb.tar.gz',
      fingerprint,
      size: unified.length,
      type: 'container',
      created_at: '2023-11-14T22:13:20Z',
      last_used_at: '1970-01-01T00:00:00Z',
      uploaded_at: expect.any(String),
    });
    expect(headers.etag).toMatch(/^"[0-9a-f]{64}"$/);
    expect((await call('GET', '/1.0/images')).body.metadata).toEqual([`/1.0/images/${fingerprint}`]);
    expect((await call('GET', '/1.0/images?recursion=1&filter=properties.os+eq+other')).body.metadata).toHaveLength(1);
    expect((await upload(unified)).err).toBe('Image with same fingerprint already exists');
    expect(readdirSync(imagesDir())).toEqual([fingerprint]);
  });

  it('comes back byte for byte', async () => {
    const reply = await call('GET', `/1.0/images/${fingerprint}/export`);
    expect(reply.headers).toMatchObject({ 'content-length': String(unified.length), 'content-disposition': `inline;filename=${fingerprint}.tar.gz` });
  });

  it('may come in two parts, hashed as one', async () => {
    const { body, headers } = await multipart();
    const operation = await upload(body, headers);
    const split = sha256(metaPart, rootPart);
    expect(operation).toMatchObject({ err: '', metadata: { fingerprint: split } });
    expect((await call('GET', `/1.0/images/${split}`)).body.metadata).toMatchObject({
      filename: 'rootfs.tar.gz',
      size: metaPart.length + rootPart.length,
    });
    const out = join(work, 'filled');
    mkdirSync(out);
    await one.images.images.fill(split, out);
    expect(readFileSync(`${out}/rootfs/etc/hostname`, 'utf8')).toBe('split');
    expect((await call('GET', `/1.0/images/${split}/export`)).headers['content-type']).toMatch(/^multipart\/form-data/);
    expect((await remove(split)).err).toBe('');
  });

  it('is refused, and leaves nothing, when it is none, not what it claims, or has no metadata', async () => {
    const before = readdirSync(imagesDir());
    expect((await upload(Buffer.from('junk that is no image'))).err).toBe('Unsupported compression');
    expect((await upload(archive('rootonly', { 'rootfs/x': '' }))).err).toBe('Metadata tarball is missing metadata.yaml');
    expect((await upload(archive('metaonly', { 'metadata.yaml': metadata }))).err).toBe('Image is missing a rootfs');
    const wrong = await call('POST', '/1.0/images', { body: archive('w', { a: '' }), headers: { 'x-lxd-fingerprint': '0'.repeat(64) } });
    expect([wrong.status, wrong.body.error]).toEqual([400, expect.stringContaining("fingerprints don't match")]);
    const { body, headers } = await multipart();
    expect((await call('POST', '/1.0/images', { body: body.subarray(0, body.length - 10), headers })).status).toBe(400);
    expect((await call('POST', '/1.0/images', { body: '{"source": ', headers: { 'content-type': 'application/json' } })).status).toBe(400);
    expect((await call('POST', '/1.0/images', { body: { source: { type: 'zzz' } } })).body.error).toBe('Invalid images JSON');
    await expect.poll(() => readdirSync(imagesDir())).toEqual(before);
  });

  it('cut off by a client that goes away leaves nothing', async () => {
    const before = readdirSync(imagesDir());
    await new Promise<void>((resolve) => {
      const request = http.request({
        socketPath: one.gateway.running.socketPath,
        method: 'POST',
        path: '/1.0/images',
        headers: { 'content-length': '1000000' },
      });
      request.on('error', () => resolve());
      request.write(Buffer.alloc(300_000, 1));
      setTimeout(() => request.destroy(), 150);
    });
    await expect.poll(() => readdirSync(imagesDir())).toEqual(before);
  });
});

describe('images', () => {
  it('are changed with an ETag, and their aliases kept', async () => {
    const tag = (await call('GET', `/1.0/images/${fingerprint}`)).headers.etag!;
    const put = { public: false, auto_update: false, properties: { a: 'b' }, profiles: ['default'] };
    expect((await call('PUT', `/1.0/images/${fingerprint}`, { body: put, headers: { 'if-match': tag } })).status).toBe(200);
    expect((await call('PUT', `/1.0/images/${fingerprint}`, { body: put, headers: { 'if-match': tag } })).status).toBe(412);
    expect((await call('PATCH', `/1.0/images/${fingerprint}`, { body: { properties: { c: 'd' } } })).status).toBe(200);
    expect((await call('GET', `/1.0/images/${fingerprint}`)).body.metadata).toMatchObject({ properties: { a: 'b', c: 'd' } });
    const created = await call('POST', '/1.0/images/aliases', { body: { name: 'bb/latest', target: fingerprint.slice(0, 12), description: 'd' } });
    expect([created.status, created.headers.location]).toEqual([201, '/1.0/images/aliases/bb%2Flatest']);
    const again = await call('POST', '/1.0/images/aliases', { body: { name: 'bb/latest', target: fingerprint } });
    expect([again.status, again.body.error]).toEqual([409, 'Alias "bb/latest" already exists']);
    const alias = { name: 'bb/latest', description: 'd', target: fingerprint, type: 'container' };
    for (const path of ['bb%2Flatest', 'bb/latest']) expect((await call('GET', `/1.0/images/aliases/${path}`)).body.metadata, path).toEqual(alias);
    expect((await call('POST', '/1.0/images/aliases/bb%2Flatest', { body: { name: 'bb' } })).status).toBe(201);
    expect((await call('GET', `/1.0/images/${fingerprint}`)).body.metadata).toMatchObject({ aliases: [{ name: 'bb', description: 'd' }] });
    const missing = await call('GET', '/1.0/images/aliases/nope');
    expect([missing.status, missing.body.error]).toEqual([404, 'Image alias not found']);
    const none = await call('GET', '/1.0/images/aaaaaaaaaaaa');
    expect([none.status, none.body.error]).toEqual([404, 'Image not found']);
  });

  it('are seen by guests only when public, or by a secret that is good for one download', async () => {
    const as = 'guest' as const;
    const path = `/1.0/images/${fingerprint}`;
    expect((await call('GET', '/1.0/images', { as })).body.metadata).toEqual([]);
    expect((await call('GET', path, { as })).status).toBe(404);
    expect((await call('GET', `${path}/export`, { as })).status).toBe(404);
    expect((await call('GET', '/1.0/images/aliases/bb', { as })).status).toBe(404);
    for (const [method, target] of [
      ['DELETE', path],
      ['PUT', path],
      ['PATCH', path],
      ['POST', `${path}/secret`],
      ['POST', `${path}/refresh`],
      ['POST', `${path}/export`],
      ['GET', '/1.0/images/aliases'],
      ['POST', '/1.0/images/aliases'],
      ['DELETE', '/1.0/images/aliases/bb'],
      ['POST', '/1.0/images'],
    ] as const)
      expect((await call(method, target, { as, body: {} })).status, `${method} ${target}`).toBe(403);
    const token = (await call('POST', `${path}/secret`)).body.metadata as Operation;
    expect(token).toMatchObject({ class: 'token', resources: { images: [path] } });
    const secret = String(token.metadata!['secret']);
    expect((await call('GET', `${path}?secret=${secret}`, { as })).status).toBe(200);
    expect((await call('GET', `${path}/export?secret=${secret}`, { as })).status).toBe(200);
    for (const what of [path, `${path}/export`]) expect((await call('GET', `${what}?secret=${secret}`, { as })).status).toBe(404);
    await call('PATCH', path, { body: { public: true } });
    expect((await call('GET', '/1.0/images', { as })).body.metadata).toEqual([path]);
    expect((await call('GET', `${path}/export`, { as })).status).toBe(200);
    expect((await call('GET', '/1.0/images/aliases/bb', { as })).status).toBe(200);
  });

  it('are unpacked once per pool however many ask, and go with their unpacked copies', async () => {
    if (process.getuid?.() !== 0) return;
    await call('POST', '/1.0/storage-pools', { body: { name: 'fast', driver: 'btrfs', config: { size: '256MiB' } } });
    const { storage } = one.storage;
    let unpacked = 0;
    const context = { identity: { protocol: 'internal', username: '', address: '' } as const, requestId: '' };
    const fill = (path: string, signal: AbortSignal): Promise<void> => ((unpacked += 1), one.images.images.fill(fingerprint, path, { signal }));
    const volume = (name: string) => ({ pool: 'fast', project: 'default', type: 'container' as const, name });
    await Promise.all(
      ['c1', 'c2', 'c3', 'c4'].map((name) => storage.create(volume(name), {}, { kind: 'fill', cacheKey: fingerprint, fill }, context)),
    );
    expect(unpacked).toBe(1);
    const { stateDir } = one.gateway.context.server;
    expect(readFileSync(`${stateDir}/containers/c3/rootfs/etc/hostname`, 'utf8')).toBe('one');
    const url = `/1.0/storage-pools/fast/volumes/image/${fingerprint}`;
    expect((await call('GET', '/1.0/storage-pools/fast/volumes')).body.metadata).toEqual([url]);
    expect((await call('GET', url)).body.metadata).toMatchObject({ used_by: [`/1.0/images/${fingerprint}`] });
    expect((await call('GET', '/1.0/storage-pools/fast')).body.metadata).toMatchObject({ used_by: [`/1.0/images/${fingerprint}`] });
    expect((await remove(fingerprint)).err).toBe('');
    expect(existsSync(`${stateDir}/storage-pools/fast/images/${fingerprint}`)).toBe(false);
    expect(readdirSync(imagesDir())).toEqual([]);
    expect(readFileSync(`${stateDir}/containers/c3/rootfs/etc/hostname`, 'utf8')).toBe('one');
    for (const name of ['c1', 'c2', 'c3', 'c4']) await storage.remove(volume(name));
    expect(readdirSync(`${stateDir}/containers`)).toEqual([]);
    expect((await call('DELETE', '/1.0/storage-pools/fast')).status).toBe(200);
  });
});

describe('images between servers', () => {
  let other: Server;
  beforeAll(async () => {
    other = await server();
    if (!existsSync(`${imagesDir()}/${fingerprint}`)) await upload(unified, { 'x-lxd-filename': 'bb.tar.gz' });
    await call('POST', '/1.0/images/aliases', { body: { name: 'shared', target: fingerprint } });
  }, 60_000);
  afterAll(async () => {
    other.images.stop();
    await other.storage.stop({ unmount: true });
    await other.gateway[Symbol.asyncDispose]();
  });
  const url = (of: Server): string => `https://127.0.0.1:${of.gateway.running.httpsPort()}`;
  const from = (source: Record<string, unknown>, rest: Record<string, unknown> = {}): CallOptions => ({
    body: {
      source: { type: 'image', mode: 'pull', server: url(one), protocol: 'lxd', certificate: one.gateway.server.certificate, ...source },
      ...rest,
    },
  });

  it('are pulled by fingerprint with a secret, once', async () => {
    const token = (await call('POST', `/1.0/images/${fingerprint}/secret`)).body.metadata as Operation;
    await call('PATCH', `/1.0/images/${fingerprint}`, { body: { public: false } });
    const denied = await done(await call('POST', '/1.0/images', from({ fingerprint }), other), other);
    expect(denied.err).toBe(`Image "${fingerprint}" not found on ${url(one)}`);
    const pull = async (): Promise<Operation> =>
      done(await call('POST', '/1.0/images', from({ fingerprint, secret: String(token.metadata!['secret']) }), other), other);
    expect((await pull()).err).toBe('');
    await done(await call('DELETE', `/1.0/images/${fingerprint}`, {}, other), other);
    expect((await pull()).err).toMatch(/not found/);
  });

  it('are pulled by alias when public, whole, with their properties and what was asked for', async () => {
    await call('PATCH', `/1.0/images/${fingerprint}`, { body: { public: true, properties: { from: 'one' } } });
    const operation = await done(
      await call(
        'POST',
        '/1.0/images',
        from({ alias: 'shared' }, { auto_update: true, aliases: [{ name: 'mine', description: '' }], properties: { extra: 'x' } }),
        other,
      ),
      other,
    );
    expect(operation).toMatchObject({ err: '', metadata: { fingerprint } });
    const image = (await call('GET', `/1.0/images/${fingerprint}`, {}, other)).body.metadata as Image;
    expect(image).toMatchObject({
      auto_update: true,
      aliases: [{ name: 'mine' }],
      properties: { from: 'one', extra: 'x' },
      update_source: { alias: 'shared', protocol: 'lxd', server: url(one) },
    });
    expect(readFileSync(`${imagesDir(other)}/${fingerprint}`).equals(unified)).toBe(true);
  });

  it('are taken from the cache for a new instance where they are kept up to date there, and kept so', async () => {
    const newer = archive('newest', { 'metadata.yaml': metadata, 'rootfs/etc/hostname': 'three' });
    const remote = {
      server: url(one),
      protocol: 'lxd',
      certificate: one.gateway.server.certificate,
      secret: '',
      name: 'shared',
      imageType: 'container',
      project: '',
    };
    const fetch = (preferCached: boolean) =>
      other.images.images.fetch(remote, { project: 'default', autoUpdate: true, public: false, cached: true, preferCached, context: internal });
    expect(await fetch(true)).toBe(fingerprint);
    expect((await upload(newer, { 'x-lxd-public': '1' })).err).toBe('');
    await call('PUT', '/1.0/images/aliases/shared', { body: { target: sha256(newer), description: '' } });
    expect(await fetch(true)).toBe(fingerprint);
    // What the server or a project says of updates is looked at when it changes.
    await call('PATCH', '/1.0/projects/default', { body: { description: 'changed' } }, other);
    await expect
      .poll(async () => (await call('GET', '/1.0/images', {}, other)).body.metadata, { timeout: 10_000 })
      .toEqual([`/1.0/images/${sha256(newer)}`]);
    await call('PUT', '/1.0/images/aliases/shared', { body: { target: fingerprint, description: '' } });
    expect(await fetch(false)).toBe(fingerprint);
    for (const [fp, on] of [
      [sha256(newer), one],
      [sha256(newer), other],
    ] as const)
      await done(await call('DELETE', `/1.0/images/${fp}`, {}, on), on);
    await call('POST', '/1.0/images/aliases', { body: { name: 'mine', target: fingerprint, description: '' } }, other);
  });

  it('are replaced by a newer one of their alias, when refreshed', async () => {
    const newer = archive('newer', { 'metadata.yaml': metadata, 'rootfs/etc/hostname': 'two' });
    expect((await upload(newer, { 'x-lxd-public': '1' })).err).toBe('');
    await call('PUT', '/1.0/images/aliases/shared', { body: { target: sha256(newer), description: '' } });
    const refreshed = await done(await call('POST', `/1.0/images/${fingerprint}/refresh`, {}, other), other);
    expect(refreshed).toMatchObject({ err: '', metadata: { refreshed: true } });
    expect((await call('GET', '/1.0/images/aliases/mine', {}, other)).body.metadata).toMatchObject({ target: sha256(newer) });
    expect(readdirSync(imagesDir(other))).toEqual([sha256(newer)]);
    const still = await done(await call('POST', `/1.0/images/${sha256(newer)}/refresh`, {}, other), other);
    expect(still.metadata).toMatchObject({ refreshed: false });
    await done(await call('DELETE', `/1.0/images/${sha256(newer)}`, {}, other), other);
  });

  it('are not taken from a server that shows another certificate', async () => {
    const operation = await done(
      await call('POST', '/1.0/images', from({ alias: 'shared', certificate: (await one.gateway.client()).certificate }), other),
      other,
    );
    expect(operation.err).toContain('Failed to reach');
  });

  it('are pushed to a server that has promised to take them, with what was promised', async () => {
    const promise = (
      await call(
        'POST',
        '/1.0/images',
        { body: { source: { mode: 'push', fingerprint }, aliases: [{ name: 'pushed', description: 'p' }], public: true } },
        other,
      )
    ).body.metadata as Operation;
    const body = { target: url(other), secret: String(promise.metadata!['secret']), certificate: other.gateway.server.certificate };
    expect((await done(await call('POST', `/1.0/images/${fingerprint}/export`, { body }))).err).toBe('');
    expect((await call('GET', `/1.0/images/${fingerprint}`, {}, other)).body.metadata).toMatchObject({
      public: true,
      aliases: [{ name: 'pushed', description: 'p' }],
    });
    const again = await done(await call('POST', `/1.0/images/${fingerprint}/export`, { body }));
    expect(again.err).toContain('refuses');
  });
});
