import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selfSigned, type KeyPair } from '#identities/host';
import { createProject } from '#projects/state';
import { internalIdentity } from '#replica/state';
import { serverControllers } from '#server/http';
import { TestGateway, type CallOptions, type TestReply } from '#testkit/gateway';
import { encodeToken, fingerprintOf, type AddToken } from '../model/index.js';
import { identityControllers } from './index.js';

let gateway: TestGateway;
let pair: KeyPair;
const call = (method: string, path: string, options?: CallOptions): Promise<TestReply> => gateway.call(method, path, options);
const authOf = async (as: KeyPair): Promise<unknown> => ((await call('GET', '/1.0', { as })).body.metadata as { auth: string }).auth;
const outcome = async (reply: Promise<TestReply>): Promise<unknown> => {
  const { status, body } = await reply;
  return [status, body.error];
};
const fingerprint = (of: KeyPair): string => fingerprintOf(new X509Certificate(of.certificate));
const base64Der = (of: KeyPair): string => new X509Certificate(of.certificate).raw.toString('base64');

beforeAll(async () => {
  gateway = await TestGateway.open({ controllers: [...serverControllers, ...identityControllers], https: true });
  await gateway.replica.submit(createProject, { name: 'p', description: '', config: {} }, { identity: internalIdentity });
  const { status } = await call('PATCH', '/1.0', { body: { config: { 'core.trust_password': 'sekret' } } });
  expect(status).toBe(200);
});
afterAll(() => gateway[Symbol.asyncDispose]());

describe('trust by password', () => {
  it('takes the certificate of the connection, at once, and says where it is', async () => {
    pair = await selfSigned('new');
    expect(await authOf(pair)).toBe('untrusted');
    const { status, headers, body } = await call('POST', '/1.0/certificates', { as: pair, body: { type: 'client', password: 'sekret' } });
    expect({ status, location: headers.location, metadata: body.metadata }).toEqual({
      status: 201,
      location: `/1.0/certificates/${fingerprint(pair)}`,
      metadata: null,
    });
    expect(await authOf(pair)).toBe('trusted');
    const again = call('POST', '/1.0/certificates', { as: pair, body: { type: 'client', password: 'sekret' } });
    expect(await outcome(again)).toEqual([400, 'Client is already trusted']);
  });

  it('refuses a wrong one, none, and a certificate for other members', async () => {
    const as = await selfSigned('bad');
    for (const body of [{ type: 'client', password: 'wrong' }, { type: 'client' }, { type: 'server', password: 'sekret' }]) {
      expect(await outcome(call('POST', '/1.0/certificates', { as, body }))).toEqual([403, 'not authorized']);
    }
    expect(await outcome(call('POST', '/1.0/certificates', { as, body: { type: 'zorg', password: 'sekret' } }))).toEqual([
      400,
      'Unknown certificate type',
    ]);
    expect(await outcome(call('POST', '/1.0/certificates', { as: 'guest', body: { type: 'client', password: 'sekret' } }))).toEqual([
      400,
      'No client certificate provided',
    ]);
  });

  it('keeps only a hash, shows true, and leaves it alone when true comes back', async () => {
    const { body } = await call('GET', '/1.0');
    expect(body.metadata).toMatchObject({ config: { 'core.trust_password': true } });
    const stored = (): unknown => gateway.replica.reader.get("SELECT value FROM server_config WHERE key = 'core.trust_password'");
    const before = stored();
    expect(before).toMatchObject({ value: expect.stringMatching(/^[0-9a-f]{192}$/) });
    await call('PUT', '/1.0', { body: { config: { 'core.trust_password': true, 'user.x': '1', 'core.https_address': '127.0.0.1:0' } } });
    expect(stored()).toEqual(before);
    expect(JSON.stringify(await gateway.replica.history({}))).not.toContain('sekret');
  });
});

describe('trust by token', () => {
  const issue = async (body: object = {}): Promise<{ id: string; token: string }> => {
    const { body: answer, status } = await call('POST', '/1.0/certificates', { body: { type: 'client', token: true, name: 'web', ...body } });
    expect(status).toBe(202);
    const { id, metadata } = answer.metadata as { id: string; metadata: AddToken & { request: { name: string } } };
    const { fingerprint, addresses, secret } = metadata;
    return { id, token: encodeToken({ client_name: metadata.request.name, fingerprint, addresses, secret, expires_at: '0001-01-01T00:00:00Z' }) };
  };

  it('needs a server that listens', async () => {
    await call('PATCH', '/1.0', { body: { config: { 'core.https_address': '' } } });
    const refused = call('POST', '/1.0/certificates', { body: { type: 'client', token: true } });
    expect(await outcome(refused)).toEqual([400, "Can't issue token when server isn't listening on network"]);
    expect(await outcome(call('PATCH', '/1.0', { body: { config: { 'core.https_address': '127.0.0.1:0' } } }))).toEqual([200, '']);
  });

  it('gives what its maker decided, once', async () => {
    const { token } = await issue({ restricted: true, projects: ['p'] });
    const [one, two] = await Promise.all([selfSigned('one'), selfSigned('two')]);
    const asked = { type: 'client', name: 'other', restricted: false, password: token, certificate: base64Der(two) };
    const answers = await Promise.all([one, two].map((as) => call('POST', '/1.0/certificates', { as, body: asked })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403]);
    const winner = answers[0]!.status === 201 ? one : two;
    const { body } = await call('GET', `/1.0/certificates/${fingerprint(winner).slice(0, 12)}`);
    expect(body.metadata).toMatchObject({ name: 'web', restricted: true, projects: ['p'] });
  });

  it('is refused when it was cancelled or never was', async () => {
    const { id, token } = await issue();
    const as = await selfSigned('late');
    const other = encodeToken({ client_name: 'web', fingerprint: 'x', addresses: ['a'], secret: 'guess', expires_at: '' });
    for (const password of [other]) {
      expect((await call('POST', '/1.0/certificates', { as, body: { type: 'client', password } })).status).toBe(403);
    }
    expect(id).toMatch(/-/);
    expect((await call('POST', '/1.0/certificates', { as, body: { type: 'client', password: token }, headers: {} })).status).toBe(201);
  });
});

describe('a trusted certificate', () => {
  it('is found by the beginning of its fingerprint, and only one at a time', async () => {
    expect((await call('GET', `/1.0/certificates/${fingerprint(pair).slice(0, 10)}`)).body.metadata).toMatchObject({
      fingerprint: fingerprint(pair),
    });
    for (const wrong of ['0%', 'zz', '_', 'f'.repeat(64)]) {
      expect(await outcome(call('GET', `/1.0/certificates/${encodeURIComponent(wrong)}`))).toEqual([404, 'Certificate not found']);
    }
  });

  it('is added by an administrator as base64 of its DER, and not twice', async () => {
    const other = await selfSigned('other');
    const body = { type: 'client', certificate: base64Der(other), name: 'other' };
    expect((await call('POST', '/1.0/certificates?dry-run=1', { body })).headers['x-muster-dry-run']).toBe('1');
    expect((await call('POST', '/1.0/certificates', { body })).status).toBe(201);
    expect(await outcome(call('POST', '/1.0/certificates', { body }))).toEqual([409, 'Certificate already in trust store']);
    expect(await outcome(call('POST', '/1.0/certificates', { body: { type: 'client', certificate: 'AAAA' } }))).toEqual([
      400,
      'Invalid certificate material',
    ]);
    expect(await outcome(call('POST', '/1.0/certificates', { body: { type: 'client' } }))).toEqual([400, 'Client is already trusted']);
  });

  it('changes under its ETag, and of two writers one wins', async () => {
    const path = `/1.0/certificates/${fingerprint(pair)}`;
    const { headers } = await call('GET', path);
    const ifMatch = headers.etag as string;
    const answers = await Promise.all(['a', 'b'].map((name) => call('PATCH', path, { body: { name }, headers: { 'if-match': ifMatch } })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412]);
    expect(answers.find(({ status }) => status === 412)!.body.error).toMatch(/^ETag doesn't match: [0-9a-f]{64} vs [0-9a-f]{64}$/);
  });

  it('loses its access at once, on open connections too', async () => {
    const gone = await gateway.client();
    expect(await authOf(gone)).toBe('trusted');
    expect((await call('DELETE', `/1.0/certificates/${fingerprint(gone)}`)).status).toBe(200);
    expect(await authOf(gone)).toBe('untrusted');
  });

  it('that is restricted sees and renews itself, and nothing else', async () => {
    const mine = await gateway.client(['p']);
    const path = `/1.0/certificates/${fingerprint(mine)}`;
    expect((await call('GET', '/1.0/certificates', { as: mine })).body.metadata).toEqual([path]);
    expect((await call('GET', `/1.0/certificates/${fingerprint(pair)}`, { as: mine })).status).toBe(404);
    const wider = { name: 'client', type: 'client', restricted: false, projects: [] };
    expect(await outcome(call('PUT', path, { as: mine, body: wider }))).toEqual([403, 'Only the certificate can be changed']);
    const next = await selfSigned('next');
    const body = { name: 'client', type: 'client', restricted: true, projects: ['p'], certificate: next.certificate };
    expect((await call('PUT', path, { as: mine, body })).status).toBe(200);
    expect([await authOf(mine), await authOf(next)]).toEqual(['untrusted', 'trusted']);
    expect((await call('DELETE', `/1.0/certificates/${fingerprint(next)}`, { as: next })).status).toBe(403);
    const { body: server } = await call('GET', '/1.0', { as: next });
    expect(server.metadata).toMatchObject({ auth: 'trusted', config: null });
  });

  it('cannot name a project that is not there', async () => {
    const path = `/1.0/certificates/${fingerprint(pair)}`;
    expect(await outcome(call('PATCH', path, { body: { restricted: true, projects: ['nope'] } }))).toEqual([404, 'Project not found']);
  });
});

describe('who guesses', () => {
  it('is slowed down by address, and told when to come back', async () => {
    const as = await selfSigned('guess');
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 12; attempt++) {
      const { status, headers } = await call('POST', '/1.0/certificates', { as, body: { type: 'client', password: `guess ${attempt}` } });
      statuses.push(status);
      if (status === 429) expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    }
    expect(statuses.at(-1)).toBe(429);
    expect((await call('GET', '/1.0')).status).toBe(200);
  });
});
