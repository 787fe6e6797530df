import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import WebSocket from 'ws';
import type { Event, Operation } from '#api-contract';
import { eventsControllers } from '#events/http';
import type { KeyPair } from '#identities/host';
import { createProject } from '#projects/state';
import { internalIdentity } from '#replica/state';
import { TestGateway } from '#testkit/gateway';
import { type MemberOperations, serveOperations } from '../host/index.js';
import { operationsControllers } from './index.js';

const context = { identity: internalIdentity, requestId: 'r' };
let gateway: TestGateway;
let operations: MemberOperations;
let restricted: KeyPair;

beforeAll(async () => {
  gateway = await TestGateway.open({
    controllers: [...operationsControllers, ...eventsControllers],
    hosts: ({ members }, its) => serveOperations(members, (operations = its)),
    https: true,
  });
  await gateway.replica.submit(createProject, { name: 'p', description: '', config: {} }, context);
  restricted = await gateway.client(['p']);
});
afterAll(() => gateway[Symbol.asyncDispose]());

const hold = (): Promise<void> => new Promise(() => {});
const start = (project: string, run: () => Promise<void> = hold): Operation => operations.start({ description: 'T', project, context, run });

/** As `lxc` does it: events first, then work, then the final event. */
it('tells the end of an operation over the unix socket', async () => {
  const socket = new WebSocket(`ws+unix://${gateway.running.socketPath}:/1.0/events?project=default`);
  const finals: Event[] = [];
  const seen = Promise.withResolvers<void>();
  socket.on('message', (data) => {
    const event = JSON.parse(String(data)) as Event & { metadata: Operation };
    if (event.type !== 'operation' || event.metadata.status_code < 200) return;
    finals.push(event);
    seen.resolve();
  });
  await once(socket, 'open');
  const { id } = start('default', async () => {});
  await seen.promise;
  const read = await gateway.call('GET', `/1.0/operations/${id}`);
  expect(finals.map(({ metadata }) => metadata)).toEqual([read.body.metadata]);
  expect(read.body.metadata).toMatchObject({ status: 'Success', location: 'none' });
  socket.terminate();
});

it('answers with the codes and texts that clients know', async () => {
  const unknown = '3fa85f64-5717-4562-b3fc-2c963f66afa6';
  for (const path of [`/1.0/operations/${unknown}`, `/1.0/operations/${unknown}/wait`]) {
    expect((await gateway.call('GET', path)).body).toMatchObject({ error_code: 404, error: 'Operation not found' });
  }
  const { id } = start('default');
  expect((await gateway.call('DELETE', `/1.0/operations/${id}`)).body).toMatchObject({ error_code: 400, error: "This operation can't be cancelled" });
  const listed = (await gateway.call('GET', '/1.0/operations')).body.metadata as Record<string, string[]>;
  expect(listed['running']).toContain(`/1.0/operations/${id}`);
  const dry = start('default');
  expect((await gateway.call('GET', `/1.0/operations/${dry.id}/wait?timeout=0`)).body).toMatchObject({ metadata: { status: 'Running' } });
});

it('hides from restricted callers and guests what is not theirs', async () => {
  const [foreign, mine] = [start('default'), start('p')];
  const get = async (path: string, as: KeyPair | 'guest'): Promise<number> => (await gateway.call('GET', path, { as })).status;
  expect(await get(`/1.0/operations/${foreign.id}`, restricted)).toBe(404);
  expect(await get(`/1.0/operations/${mine.id}`, restricted)).toBe(200);
  expect(await get('/1.0/operations', restricted)).toBe(403);
  expect((await gateway.call('GET', '/1.0/operations?project=p', { as: restricted })).body.metadata).toEqual({
    running: [`/1.0/operations/${mine.id}`],
  });
  for (const path of [`/1.0/operations/${mine.id}`, '/1.0/operations', '/1.0/history', `/1.0/operations/${mine.id}/wait`])
    expect(await get(path, 'guest')).toBe(403);
  expect(await get('/1.0/history?project=default', restricted)).toBe(403);
});

it('shows the history of the replica, with the member and its span', async () => {
  const { body, headers } = await gateway.call('GET', '/1.0/history?limit=1');
  expect(body.metadata).toMatchObject([{ command: expect.any(String), changes: expect.any(Array) }]);
  expect(headers).toMatchObject({ 'x-muster-member': 'none', 'x-muster-history-span': expect.stringMatching(/^\d+-\d+/) });
  expect((await gateway.call('GET', '/1.0/submits/00000000000000000000000000000000')).body.metadata).toEqual({ state: 'unknown' });
});

it('refuses a websocket with a wrong secret on the connection itself, for guests over HTTPS too', async () => {
  const secret = 'f'.repeat(64);
  const { id } = operations.start({
    description: 'T',
    class: 'websocket',
    project: 'default',
    context,
    run: hold,
    sockets: { secrets: { '0': secret }, connect: (_name, socket) => socket.send('hi') },
  });
  const head = (its: string): string =>
    `GET /1.0/operations/${id}/websocket?secret=${its} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`;
  const answer = async (socket: Socket, its: string): Promise<string> => {
    socket.write(head(its));
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return bytes.toString('latin1');
  };
  const refused = await answer(connect(gateway.running.socketPath), '0'.repeat(64));
  expect(refused).toMatch(/^HTTP\/1\.1 500 /);
  expect(refused).toContain('"error":"permission denied"');
  const tls = connectTls({ port: gateway.running.httpsPort()!, host: '127.0.0.1', rejectUnauthorized: false });
  await once(tls, 'secureConnect');
  expect(await answer(tls, secret)).toMatch(/^HTTP\/1\.1 101 /);
});
