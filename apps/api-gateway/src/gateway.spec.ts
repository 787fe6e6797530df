import { createHash, X509Certificate } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import { statSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { Controller } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Route, UpgradeRoute, reply, type ApiRequest, type Reply } from '#http-kit';
import { identityControllers } from '#identities/http';
import type { KeyPair } from '#identities/host';
import { fingerprintOf } from '#identities/model';
import { fault } from '#kit';
import type { Upgrade } from '#members';
import { createProject } from '#projects/state';
import { internalIdentity } from '#replica/state';
import { serverControllers } from '#server/http';
import { TestGateway, type CallOptions, type TestReply } from '#testkit/gateway';

const got: unknown[] = [];

@Controller()
class Probe {
  @Route('POST', '/1.0/probe', { access: 'trusted' })
  take({ body }: ApiRequest): Reply {
    got.push(body);
    return reply.sync(body);
  }

  @Route('GET', '/1.0/probe/:name', { access: 'project' })
  show({ params, project, recursion, caller }: ApiRequest): Reply {
    return reply.sync({ name: params.name, project, recursion, caller: caller.identity });
  }

  @Route('PUT', '/1.0/probe/:name', { access: 'trusted', body: 'stream' })
  async upload({ stream }: ApiRequest): Promise<Reply> {
    const hash = createHash('sha256');
    for await (const chunk of stream) hash.update(chunk as Buffer);
    return reply.sync(hash.digest('hex'));
  }

  @Route('DELETE', '/1.0/probe/:name', { access: 'trusted' })
  broken({ params }: ApiRequest): Reply {
    if (params.name === 'bug') throw new TypeError('secret of the program');
    throw fault.unavailable('later', { retryAfterS: 3, metadata: { submitId: 'x' } });
  }

  @UpgradeRoute('/1.0/probe/:name/socket', { access: 'trusted' })
  socket({ params }: ApiRequest, { socket }: Upgrade): void {
    if (params.name === 'no') throw fault.notFound('no such probe');
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: probe\r\n\r\nhello ${params.name}`);
  }
}

let gateway: TestGateway;
let trusted: KeyPair;
let restricted: KeyPair;
let metrics: KeyPair;
const call = (method: string, path: string, options?: CallOptions): Promise<TestReply> => gateway.call(method, path, options);

beforeAll(async () => {
  gateway = await TestGateway.open({ controllers: [...serverControllers, ...identityControllers, Probe], https: true });
  for (const name of ['mine', 'foreign']) {
    await gateway.replica.submit(createProject, { name, description: '', config: {} }, { identity: internalIdentity });
  }
  [trusted, restricted, metrics] = await Promise.all([gateway.client(), gateway.client(['mine']), gateway.client(undefined, 'metrics')]);
});
afterAll(() => gateway[Symbol.asyncDispose]());

/** Everything that comes until the server closes, or until `forMs` is over. */
function conversation(socket: Socket, say: string, forMs = 5_000): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    const done = (): void => {
      socket.destroy();
      resolve(heard);
    };
    setTimeout(done, forMs).unref();
    socket
      .on('data', (chunk) => (heard += chunk.toString()))
      .on('close', done)
      .on('error', done);
    socket.write(say);
  });
}

const unixSocket = (): Socket => createConnection(gateway.running.socketPath);

describe('the envelope', () => {
  it('is one line of JSON with LXD’s fields in their order', async () => {
    const { text, headers, status } = await call('GET', '/');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json');
    expect(text).toBe('{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":["/1.0"]}\n');
  });

  it('of an error has the code twice, no metadata, and forbids sniffing', async () => {
    const { text, headers, status } = await call('GET', '/1.0/nothing-here');
    expect(status).toBe(404);
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(text).toBe('{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"error":"not found","metadata":null}\n');
  });

  it('answers a known path without the method with 501, an unknown path with 404', async () => {
    expect(await call('POST', '/1.0/resources')).toMatchObject({ status: 501, body: { error: 'not implemented' } });
    expect(await call('HEAD', '/1.0')).toMatchObject({ status: 501 });
    expect(await call('GET', '/2.0')).toMatchObject({ status: 404, body: { error: 'not found' } });
    expect(await call('GET', '/1.0/')).toMatchObject({ status: 404 });
    expect(await call('GET', '/1.0/probe/%zz')).toMatchObject({ status: 400 });
  });

  it('tells nothing of an internal error but where to look', async () => {
    const { status, text, body } = await call('DELETE', '/1.0/probe/bug');
    expect(status).toBe(500);
    expect(body.error).toMatch(/^Internal error \(request [0-9a-f]{32}\)$/);
    expect(text).not.toContain('secret');
  });

  it('carries Retry-After and the metadata of a fault', async () => {
    const { status, headers, body } = await call('DELETE', '/1.0/probe/x');
    expect({ status, retry: headers['retry-after'], metadata: body.metadata }).toEqual({ status: 503, retry: '3', metadata: { submitId: 'x' } });
  });
});

describe('requests', () => {
  it('have project, recursion and decoded parameters', async () => {
    const { body } = await call('GET', '/1.0/probe/a%2Fb?project=foreign&recursion=2');
    expect(body.metadata).toMatchObject({
      name: 'a/b',
      project: 'foreign',
      recursion: 2,
      caller: { protocol: 'unix', username: 'root', address: '@' },
    });
    expect((await call('GET', '/1.0/probe/a?recursion=x&project=')).body.metadata).toMatchObject({ project: 'default', recursion: 0 });
  });

  it('cannot ask for one project and for all', async () => {
    const { status, body } = await call('GET', '/1.0/probe/a?project=mine&all-projects=true');
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'Cannot specify a project when requesting all projects' });
  });

  it('may have any content type around their JSON, chunks, or no body at all', async () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await call('POST', '/1.0/probe', { body: { a: 1 }, headers: form })).body.metadata).toEqual({ a: 1 });
    expect((await call('POST', '/1.0/probe')).body.metadata).toEqual({});
    const chunked = await conversation(
      unixSocket(),
      'POST /1.0/probe HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"b"\r\n3\r\n:2}\r\n0\r\n\r\n',
    );
    expect(chunked).toContain('"metadata":{"b":2}');
  });

  it.each([
    ['{bad', "invalid character 'b' looking for beginning of object key string"],
    ['{"a":', 'unexpected EOF'],
    ['nope', "invalid character 'o' looking for beginning of value"],
    ['{"a":1} x', "invalid character 'x' after top-level value"],
    ['{"a" 1}', "invalid character '1' after object key"],
    ['[1 2]', "invalid character '2' after array element"],
  ])('are refused when the body is %s', async (body, error) => {
    const { status, body: answer } = await call('POST', '/1.0/probe', { body });
    expect(status).toBe(400);
    if (body !== 'nope') expect(answer.error).toBe(error);
  });

  it('do nothing when their body is cut in half', async () => {
    got.length = 0;
    const socket = unixSocket();
    socket.write('POST /1.0/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"name":"half"');
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    const half = unixSocket();
    half.end('POST /1.0/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"name":"half"}');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(got).toEqual([]);
  });

  it('may be 16 MiB and no more', async () => {
    const body = (bytes: number): string => JSON.stringify('x'.repeat(bytes - 2));
    expect((await call('POST', '/1.0/probe', { body: body(16 * 1024 * 1024) })).status).toBe(200);
    const { status, body: answer } = await call('POST', '/1.0/probe', { body: body(20 * 1024 * 1024) });
    expect({ status, error: answer.error }).toEqual({ status: 413, error: 'Request body is larger than 16MiB' });
  });

  it('hand over a stream unread where the route says so', async () => {
    const bytes = Buffer.alloc(3 * 1024 * 1024, 'muster');
    const { body } = await call('PUT', '/1.0/probe/x', { body: bytes, headers: { 'content-type': 'application/json' } });
    expect(body.metadata).toBe(createHash('sha256').update(bytes).digest('hex'));
  });
});

describe('upgrades', () => {
  const ask = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;

  it('reach the route that declared the path', async () => {
    expect(await conversation(unixSocket(), ask('/1.0/probe/it/socket'))).toMatch(/^HTTP\/1.1 101 [^]*hello it$/);
  });

  it('are refused with an envelope', async () => {
    expect(await conversation(unixSocket(), ask('/1.0/probe/no/socket'))).toMatch(/^HTTP\/1.1 404 [^]*"error":"no such probe"/);
    const guest = connectTls({ port: gateway.running.httpsPort()!, rejectUnauthorized: false });
    expect(await conversation(guest, ask('/1.0/probe/it/socket'))).toMatch(/^HTTP\/1.1 403 [^]*"error":"not authorized"/);
  });

  it('elsewhere are requests like others, and a plain request to such a path is told so', async () => {
    const plain = ask('/1.0/probe/it').replace('websocket', 'h2c').replace('Connection: Upgrade', 'Connection: Upgrade, close');
    expect(await conversation(unixSocket(), plain, 500)).toContain('"name":"it"');
    expect((await call('GET', '/1.0/probe/it/socket')).status).toBe(400);
  });
});

describe('silent and slow clients', () => {
  it('hold up nobody, on either listener', async () => {
    const silent = Array.from({ length: 200 }, () => unixSocket());
    const halves = Array.from({ length: 50 }, () => unixSocket());
    const handshakes = Array.from({ length: 50 }, () => createConnection(gateway.running.httpsPort()!, '127.0.0.1'));
    for (const socket of [...silent, ...halves, ...handshakes]) socket.on('error', () => undefined);
    for (const socket of halves) socket.write('POST /1.0/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const began = performance.now();
    expect((await call('GET', '/1.0')).status).toBe(200);
    expect((await call('GET', '/1.0', { as: trusted })).status).toBe(200);
    expect(performance.now() - began).toBeLessThan(1_000);
    for (const socket of [...silent, ...halves, ...handshakes]) socket.destroy();
  });

  it('get a 400 for what is not HTTP', async () => {
    expect(await conversation(unixSocket(), 'NOT HTTP AT ALL\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe('the unix socket', () => {
  it('is for its owner and its group only', () => {
    expect(statSync(gateway.running.socketPath).mode & 0o777).toBe(0o660);
  });
});

describe('who may call', () => {
  const walked = (): { method: string; path: string; access: string }[] =>
    gateway.running.gateway.routes().map((route) => ({ ...(route as { access: string } & typeof route), path: route.path.replace(/:\w+/g, 'x') }));
  const guestRoutes = ['GET /', 'GET /1.0', 'POST /1.0/certificates'];

  it('is asked of an unauthorised caller on every route', async () => {
    const open: string[] = [];
    for (const { method, path } of walked()) {
      const { status, body } = await call(method, path, { as: 'guest' });
      if (status === 403 && body?.error === 'not authorized') continue;
      open.push(`${method} ${path}`);
    }
    // POST /1.0/certificates is open to guests, and refuses one that brings nothing.
    expect(open).toEqual(guestRoutes.filter((route) => route !== 'POST /1.0/certificates'));
  });

  it('is asked of a restricted caller on a foreign project', async () => {
    for (const { method, path, access } of walked()) {
      if (access !== 'project' && access !== 'admin' && access !== 'local') continue;
      const { status } = await call(method, `${path}?project=foreign`, { as: restricted });
      expect({ route: `${method} ${path}`, status }).toEqual({ route: `${method} ${path}`, status: 403 });
    }
  });

  it('lets a restricted caller into its own project, and not into the default one', async () => {
    expect((await call('GET', '/1.0/probe/a?project=mine', { as: restricted })).status).toBe(200);
    expect((await call('GET', '/1.0/probe/a', { as: restricted })).status).toBe(403);
  });

  it('keeps /internal to the unix socket, from trusted callers too', async () => {
    expect((await call('GET', '/internal/ready', { as: trusted })).status).toBe(403);
    expect((await call('GET', '/internal/ready')).status).toBe(200);
    expect((await call('GET', '/internal/sql', { as: trusted })).status).toBe(403);
  });

  it('gives a metrics certificate the metrics and nothing else', async () => {
    expect((await call('GET', '/1.0/metrics', { as: metrics })).status).toBe(200);
    expect((await call('GET', '/1.0/metrics', { as: 'guest' })).status).toBe(403);
    expect((await call('GET', '/1.0/probe/a', { as: metrics })).status).toBe(403);
    expect((await call('GET', '/1.0', { as: metrics })).body.metadata).toMatchObject({ auth: 'untrusted' });
  });

  it('gives no guest’s view to who says it is authenticated', async () => {
    expect((await call('GET', '/1.0', { as: 'guest', headers: { 'x-lxd-authenticated': 'true' } })).status).toBe(403);
  });

  it('believes identity headers from a cluster certificate only', async () => {
    const headers = { 'x-lxd-forwarded-protocol': 'tls', 'x-lxd-forwarded-username': 'somebody', 'x-lxd-forwarded-address': '1.2.3.4:5' };
    const member = await gateway.client(undefined, 'server');
    const client = fingerprintOf(new X509Certificate(trusted.certificate));
    const identityOf = async (as?: KeyPair): Promise<unknown> =>
      ((await call('GET', '/1.0/probe/a', { as, headers })).body.metadata as { caller: unknown }).caller;
    expect(await identityOf(member)).toMatchObject({ username: expect.not.stringContaining('somebody') });
    // The cluster's certificate, and the rights of whom it speaks for.
    gateway.cluster = gateway.server;
    headers['x-lxd-forwarded-username'] = client;
    expect(await identityOf(gateway.server)).toEqual({ protocol: 'tls', username: client, address: '1.2.3.4:5' });
    headers['x-lxd-forwarded-username'] = 'somebody';
    expect((await call('GET', '/1.0/probe/a', { as: gateway.server, headers })).status).toBe(403);
    gateway.cluster = undefined;
    expect(await identityOf(trusted)).toMatchObject({ username: expect.not.stringContaining('somebody') });
    expect(await identityOf()).toMatchObject({ protocol: 'unix', username: 'root' });
  });
});

describe('while the daemon', () => {
  it('starts, everything waits but the socket’s own', async () => {
    gateway.running.setPhase('starting');
    expect(await call('GET', '/1.0')).toMatchObject({ status: 503, body: { error: 'LXD daemon setup in progress' } });
    expect((await call('GET', '/')).status).toBe(200);
    gateway.running.setPhase('running');
  });

  it('stops, reads go on and writes do not', async () => {
    gateway.running.setPhase('stopping');
    expect(await call('POST', '/1.0/probe')).toMatchObject({ status: 503, body: { error: 'LXD is shutting down' } });
    expect((await call('GET', '/1.0')).status).toBe(200);
    gateway.running.setPhase('running');
  });
});
