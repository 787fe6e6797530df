import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import type { Event } from '#api-contract';
import type { ApiRequest, Caller } from '#http-kit';
import { systemClock } from '#kit';
import { MemberEventHub } from '../host/index.js';
import { EventsController } from './events.controller.js';

const admin = { trusted: true, admin: true } as Caller;
const restricted = { trusted: true, admin: false, projects: ['p', 'q'] } as unknown as Caller;

let hub: MemberEventHub;
let server: Server;
let caller: Caller;

beforeEach(async () => {
  hub = new MemberEventHub({ clock: systemClock, location: () => 'none', queue: { events: 50, bytes: 1e6 } });
  const controller = new EventsController(hub);
  caller = admin;
  server = createServer();
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    const { searchParams: query } = new URL(request.url!, 'http://x');
    const api = {
      caller,
      query,
      project: query.get('project') ?? 'default',
      allProjects: query.get('all-projects') === 'true',
    } as unknown as ApiRequest;
    try {
      controller.connect(api, { request, socket, head });
    } catch (error) {
      socket.end(`HTTP/1.1 ${(error as { kind: string }).kind === 'forbidden' ? 403 : 400} No\r\n\r\n`);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  hub.close('over');
  server.closeAllConnections();
  server.close();
});

const port = (): number => (server.address() as AddressInfo).port;

async function open(query: string): Promise<{ socket: WebSocket; got: Event[] }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port()}/1.0/events?${query}`);
  const got: Event[] = [];
  socket.on('message', (data, binary) => {
    expect(binary).toBe(false);
    got.push(JSON.parse(String(data)));
  });
  await once(socket, 'open');
  return { socket, got };
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; !condition() && n < 400; n++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

describe('GET /1.0/events', () => {
  it('sends one frame an event, in order, of the project and of none', async () => {
    const { got } = await open('project=default');
    for (let n = 0; n < 30; n++) hub.publish({ type: 'operation', project: n % 2 ? 'default' : 'other', metadata: n });
    hub.publish({ type: 'lifecycle', metadata: 'server' });
    await until(() => got.length === 16);
    expect(got.map(({ metadata }) => metadata)).toEqual([...Array.from({ length: 15 }, (_, n) => 2 * n + 1), 'server']);
    expect(got[0]).toMatchObject({ type: 'operation', project: 'default', location: 'none', boot: hub.boot, number: 2 });
  });

  it('goes on where an earlier connection ended', async () => {
    const first = await open('');
    hub.publish({ type: 'lifecycle', metadata: 1 });
    await until(() => first.got.length === 1);
    first.socket.terminate();
    hub.publish({ type: 'lifecycle', metadata: 2 });
    const { boot, number } = first.got[0]!;
    const second = await open(`since=none:${boot}:${number}`);
    hub.publish({ type: 'lifecycle', metadata: 3 });
    await until(() => second.got.length === 2);
    expect(second.got.map(({ metadata }) => metadata)).toEqual([2, 3]);
  });

  it('shows restricted callers their projects only, and no log', async () => {
    caller = restricted;
    const { got } = await open('all-projects=true');
    for (const project of ['p', 'default', 'q', undefined]) hub.publish({ type: 'operation', project, metadata: project ?? 'server' });
    hub.publish({ type: 'logging', project: 'p', metadata: 'log' });
    hub.publish({ type: 'lifecycle', project: 'q', metadata: 'last' });
    await until(() => got.some(({ metadata }) => metadata === 'last'));
    expect(got.map(({ metadata }) => metadata)).toEqual(['p', 'q', 'last']);
  });

  it.each([
    ['type=nope', 400, admin],
    ['since=zzz', 400, admin],
    ['type=logging', 403, restricted],
  ])('refuses %s', async (query, status, as) => {
    caller = as;
    const [error] = await once(new WebSocket(`ws://127.0.0.1:${port()}/1.0/events?${query}`), 'error');
    expect(String(error)).toContain(String(status));
  });

  it('cuts a client that does not read, with a reason, and forgets it', async () => {
    const slow = connect(port(), '127.0.0.1');
    await once(slow, 'connect');
    slow.write(
      `GET /1.0/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`,
    );
    await until(() => hub.wanted('operation'));
    slow.pause();
    const quick = await open('');
    for (let n = 0; n < 300 && hub.wanted('operation'); n++) {
      hub.publish({ type: 'operation', project: 'default', metadata: 'x'.repeat(100_000) });
      await until(() => quick.got.length === n + 1);
    }
    expect(quick.got).toHaveLength(300);
    const bytes: Buffer[] = [];
    slow.on('data', (data) => bytes.push(data)).resume();
    await until(() => bytes.at(-1)?.toString('latin1').includes('listener too slow') === true);
    expect(Buffer.concat(bytes).toString('latin1')).toContain('listener too slow');
    slow.destroy();
  }, 20_000);

  it('closes with a reason when the server stops', async () => {
    const { socket } = await open('');
    hub.close('server is shutting down');
    const [code, reason] = await once(socket, 'close');
    expect([code, String(reason)]).toEqual([1001, 'server is shutting down']);
  });
});
