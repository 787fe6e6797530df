import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identityControllers } from '#identities/http';
import { addCertificate } from '#identities/state';
import { TestGateway, type CallOptions, type TestReply } from '#testkit/gateway';
import { serverControllers } from './index.js';

let gateway: TestGateway;
const call = (method: string, path: string, options?: CallOptions): Promise<TestReply> => gateway.call(method, path, options);
const configured = (config: object, method = 'PATCH', headers: Record<string, string> = {}): Promise<TestReply> =>
  call(method, '/1.0', { body: { config }, headers });
const config = async (): Promise<Record<string, unknown>> =>
  ((await call('GET', '/1.0')).body.metadata as { config: Record<string, unknown> }).config;

beforeAll(async () => {
  gateway = await TestGateway.open({ controllers: [...serverControllers, ...identityControllers] });
});
afterAll(() => gateway[Symbol.asyncDispose]());

describe('the configuration of the server', () => {
  it('is merged by PATCH and replaced by PUT, wherever a key is kept', async () => {
    expect((await configured({ 'core.proxy_http': 'http://p', 'user.a': '1', 'storage.images_volume': 'pool/v' })).status).toBe(200);
    expect((await configured({ 'user.a': '2' })).status).toBe(200);
    expect(await config()).toEqual({ 'core.proxy_http': 'http://p', 'storage.images_volume': 'pool/v', 'user.a': '2' });
    expect((await configured({ 'user.a': '3' }, 'PUT')).status).toBe(200);
    expect(await config()).toEqual({ 'user.a': '3' });
    expect((await call('PATCH', '/1.0', { body: {} })).body.metadata).toEqual({});
    expect(await config()).toEqual({ 'user.a': '3' });
  });

  it('keeps no value that is the default, and one spelling of booleans', async () => {
    await configured({ 'core.shutdown_timeout': '5', 'images.auto_update_cached': 'no', 'core.metrics_authentication': 'YES' }, 'PUT');
    expect(await config()).toEqual({ 'images.auto_update_cached': 'false' });
    await configured({}, 'PUT');
  });

  it.each([
    [{ 'nope.key': '1' }, "cannot set 'nope.key' to '1': unknown key"],
    [{ 'core.shutdown_timeout': 'soon' }, "cannot set 'core.shutdown_timeout' to 'soon': invalid integer"],
    [{ 'core.shutdown_timeout': 5 }, "cannot set 'core.shutdown_timeout': invalid type float64"],
    [{ 'core.trust_ca_certificates': 'maybe' }, "cannot set 'core.trust_ca_certificates' to 'maybe': invalid boolean"],
    [{ 'a.b': '1', 'c.d': '2' }, "cannot set 'a.b' to '1': unknown key (and 1 more errors)"],
    [{ 'core.https_address': '1.2.3:99' }, `cannot set 'core.https_address' to '1.2.3:99': Invalid IPv4 address "1.2.3"`],
    [{ 'cluster.max_voters': '4' }, "cannot set 'cluster.max_voters' to '4': Value must be an odd number equal to or higher than 3"],
    ['x', 'Invalid request body: config must be an object'],
  ])('refuses %j, and changes nothing', async (wrong, error) => {
    const body = { config: typeof wrong === 'string' ? wrong : { ...wrong } };
    const { status, body: answer } = await call('PATCH', '/1.0', { body });
    expect({ status, error: answer.error }).toEqual({ status: 400, error });
    expect(await config()).toEqual({});
  });

  it('lets only one of two writers with the same ETag win', async () => {
    const { headers } = await call('GET', '/1.0');
    const ifMatch = { 'if-match': headers.etag as string };
    const answers = await Promise.all(['1', '2'].map((value) => configured({ 'user.x': value }, 'PATCH', ifMatch)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412]);
    expect((await configured({ 'core.https_address': '127.0.0.1:0' }, 'PATCH', { 'if-match': '"deadbeef"' })).status).toBe(412);
    expect(gateway.running.httpsPort()).toBeUndefined();
    await configured({}, 'PUT');
  });

  it('says what a dry-run would change, on this member too', async () => {
    const { headers, body } = await call('PATCH', '/1.0?dry-run=1', { body: { config: { 'user.x': '1', 'maas.machine': 'm' } } });
    expect(headers['x-muster-dry-run']).toBe('1');
    const { would } = body.metadata as { would: { entity: string; action: string; after: unknown }[] };
    expect(would.map(({ entity, action }) => `${entity} ${action}`)).toEqual(['server_config create', 'member_config create']);
    expect(await config()).toEqual({});
  });
});

describe('core.https_address', () => {
  const reached = (as: 'guest'): Promise<number> => call('GET', '/1.0', { as }).then(({ status }) => status);

  it('moves the listener while it serves, and closes it', async () => {
    await configured({ 'core.https_address': '127.0.0.1:0' });
    const first = gateway.running.httpsPort()!;
    expect(await reached('guest')).toBe(200);
    await configured({ 'core.https_address': '[::1]:0' });
    const second = gateway.running.httpsPort()!;
    expect(second).not.toBe(first);
    await configured({ 'core.https_address': '' });
    expect(gateway.running.httpsPort()).toBeUndefined();
  });

  it('goes from one address of a port to all of them', async () => {
    await configured({ 'core.https_address': '127.0.0.1:0' });
    const port = gateway.running.httpsPort()!;
    await configured({ 'core.https_address': `127.0.0.1:${port + 1}` });
    expect((await configured({ 'core.https_address': `:${port + 1}` })).status).toBe(200);
    expect(await reached('guest')).toBe(200);
    await configured({ 'core.https_address': '' });
  });

  it('that cannot be bound is refused, and nothing is changed', async () => {
    await configured({ 'core.https_address': '127.0.0.1:0' });
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    const { status, body } = await configured({ 'core.https_address': `127.0.0.1:${port}`, 'user.y': '1' });
    expect({ status, error: body.error }).toEqual({ status: 400, error: `Cannot listen on 127.0.0.1:${port}: EADDRINUSE` });
    expect(await reached('guest')).toBe(200);
    expect(await config()).toEqual({ 'core.https_address': '127.0.0.1:0' });
    other.close();
    await configured({}, 'PUT');
  });
});

describe('core.metrics_address', () => {
  it('serves the metrics and nothing else', async () => {
    await configured({ 'core.https_address': '127.0.0.1:0', 'core.metrics_authentication': 'false' });
    const taken = await configured({ 'core.metrics_address': `127.0.0.1:${gateway.running.httpsPort()!}` });
    expect(taken.body.error).toContain('EADDRINUSE');
    const probe = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => probe.once('listening', resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    expect((await configured({ 'core.metrics_address': `127.0.0.1:${port}` })).status).toBe(200);
    const at = (path: string): Promise<TestReply> => call('GET', path, { as: 'guest', port });
    expect(await at('/1.0/metrics')).toMatchObject({ status: 200, text: expect.stringContaining('muster_uptime_seconds') });
    expect((await at('/1.0')).status).toBe(404);
    await configured({}, 'PUT');
  });
});

describe('core.https_allowed_*', () => {
  it('says to browsers what they may do, and answers their preflight', async () => {
    const headers = { origin: 'https://ui.example' };
    expect((await call('GET', '/1.0', { headers })).headers['access-control-allow-origin']).toBeUndefined();
    await configured({
      'core.https_allowed_origin': 'https://ui.example',
      'core.https_allowed_methods': 'GET',
      'core.https_allowed_credentials': 'true',
    });
    const preflight = await call('OPTIONS', '/1.0/profiles', { headers });
    expect({ status: preflight.status, ...preflight.headers }).toMatchObject({
      status: 200,
      'access-control-allow-origin': 'https://ui.example',
      'access-control-allow-methods': 'GET',
      'access-control-allow-credentials': 'true',
    });
    expect((await call('GET', '/1.0', { headers })).headers['access-control-allow-origin']).toBe('https://ui.example');
    expect((await call('GET', '/1.0')).headers['access-control-allow-origin']).toBeUndefined();
    await configured({}, 'PUT');
  });
});

describe('GET /1.0', () => {
  it('tells a guest nothing of the machine, and gives it no ETag', async () => {
    await configured({ 'core.https_address': '127.0.0.1:0' });
    const { body, headers } = await call('GET', '/1.0', { as: 'guest' });
    expect(headers.etag).toBeUndefined();
    expect(Object.keys(body.metadata as object)).toEqual(['api_extensions', 'api_status', 'api_version', 'auth', 'public', 'auth_methods']);
    await configured({}, 'PUT');
  });

  it('names the ways to log in: TLS, and Candid where it is configured', async () => {
    const methods = async (): Promise<unknown> =>
      ((await call('GET', '/1.0', { as: 'guest' })).body.metadata as { auth_methods: string[] }).auth_methods;
    await configured({ 'core.https_address': '127.0.0.1:0' });
    expect(await methods()).toEqual(['tls']);
    await configured({ 'candid.api.url': 'https://candid.example' });
    expect(await methods()).toEqual(['tls', 'candid']);
    await configured({}, 'PUT');
  });

  it('has LXD’s fields, from this machine', async () => {
    const { metadata } = (await call('GET', '/1.0?project=p')).body as { metadata: { environment: Record<string, unknown> } };
    expect(Object.keys(metadata)).toEqual(['config', 'api_extensions', 'api_status', 'api_version', 'auth', 'public', 'auth_methods', 'environment']);
    expect(metadata.environment).toMatchObject({
      addresses: [],
      certificate: gateway.server.certificate,
      kernel: 'Linux',
      os_name: expect.stringMatching(/./),
      project: 'p',
      server_pid: process.pid,
      server_clustered: false,
      storage_supported_drivers: [],
    });
  });
});

describe('GET /1.0/resources', () => {
  it('shows this machine’s hardware', async () => {
    const { metadata } = (await call('GET', '/1.0/resources')).body as { metadata: Record<string, { total: number }> };
    expect(Object.keys(metadata)).toEqual(['cpu', 'memory', 'gpu', 'network', 'storage', 'usb', 'pci', 'system']);
    expect(metadata.cpu!.total).toBeGreaterThan(0);
    expect(metadata.memory!.total).toBeGreaterThan(64 * 1024 * 1024);
  });
});

describe('GET /1.0/metrics', () => {
  it('is text, of the daemon itself at least', async () => {
    const { headers, text } = await call('GET', '/1.0/metrics');
    expect(headers['content-type']).toMatch(/^text\/plain/);
    expect(text).toMatch(/^# TYPE muster_uptime_seconds gauge$/m);
  });
});

describe('/internal/sql', () => {
  const sql = async (database: string, query: string): Promise<{ status: number; error: string; results: unknown }> => {
    const { status, body } = await call('POST', '/internal/sql', { body: { database, query } });
    return { status, error: body.error, results: (body.metadata as { Results: unknown } | null)?.Results };
  };

  it('reads the cluster’s database in LXD’s tables, and knows the columns of nothing', async () => {
    const added = { fingerprint: 'ab', type: 'server' as const, name: "m'1", certificate: 'x', restricted: false, projects: [] };
    await gateway.replica.submit(addCertificate, added, { identity: { protocol: 'unix', username: '', address: '@' } });
    expect(await sql('global', 'SELECT name FROM certificates WHERE type = 2')).toMatchObject({
      results: [{ type: 'select', columns: ['name'], rows: [["m'1"]], rows_affected: 0 }],
    });
    expect(await sql('global', "SELECT name, type FROM certificates WHERE name = 'a;b'; SELECT 1 AS one")).toMatchObject({
      results: [
        { columns: ['name', 'type'], rows: [] },
        { columns: ['one'], rows: [[1]] },
      ],
    });
  });

  it('reads and writes the member’s own', async () => {
    await configured({ 'core.https_address': '' });
    expect(await sql('local', 'SELECT id, role FROM raft_nodes')).toMatchObject({ results: [{ rows: [[1, 0]] }] });
    expect(await sql('local', "DELETE FROM patches WHERE name = 'x'")).toMatchObject({ results: [{ type: 'exec', rows_affected: 0 }] });
  });

  it('does not write the cluster’s database behind the commands’ back', async () => {
    expect(await sql('global', 'DELETE FROM certificates')).toMatchObject({ status: 501 });
    expect(await sql('global', '.sync')).toMatchObject({ status: 200, results: null });
    expect(await sql('global', 'SELECT nope FROM nowhere')).toMatchObject({ status: 500, error: expect.stringContaining('no such table') });
    expect(await sql('zorg', 'SELECT 1')).toMatchObject({ status: 400, error: 'Invalid database' });
    expect(await sql('global', '')).toMatchObject({ status: 400, error: 'No query provided' });
  });

  it('dumps what would make the database again', async () => {
    const { metadata } = (await call('GET', '/internal/sql?database=global')).body as { metadata: { text: string } };
    expect(metadata.text).toContain('CREATE TABLE certificates');
    expect(metadata.text).toContain("'m''1'");
    const schema = (await call('GET', '/internal/sql?database=local&schema=1')).body as { metadata: { text: string } };
    expect(schema.metadata.text).toContain('CREATE TABLE member_config');
    expect(schema.metadata.text).not.toContain('INSERT');
  });
});
