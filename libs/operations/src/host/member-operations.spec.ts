import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import type { Operation } from '#api-contract';
import { type EventStream, MemberEventHub } from '#events/host';
import { fault, silent, systemClock } from '#kit';
import { openLocalStore } from '#replica';
import { internalIdentity } from '#replica/state';
import { memberOfOperation } from '../model/index.js';
import { MemberOperations } from './member-operations.js';
import type { OperationRequest, RunningOperation } from './operations.js';

const context = { identity: internalIdentity, requestId: 'r' };
const request = (more: Partial<OperationRequest>): OperationRequest => ({ description: 'Testing', project: 'default', context, ...more });
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

let local: ReturnType<typeof openLocalStore>;
let events: MemberEventHub;
let operations: MemberOperations;
let stream: EventStream;

const make = (): MemberOperations =>
  new MemberOperations({ local, events, clock: systemClock, log: silent, memberId: () => 7, location: () => 'none' });

beforeEach(() => {
  local = openLocalStore(':memory:');
  events = new MemberEventHub({ clock: systemClock, location: () => 'none' });
  operations = make();
  stream = events.listen({ types: ['operation'] });
});
afterEach(() => local.close());

/** The documents told so far, in order. */
async function told(): Promise<Operation[]> {
  events.close('');
  const documents: Operation[] = [];
  for await (const record of stream) documents.push(JSON.parse(record.json).metadata);
  return documents;
}

describe('a task', () => {
  it('is answered running, and its final event carries the whole document', async () => {
    const answer = operations.start(request({ resources: { instances: ['/1.0/instances/c1'] }, run: async () => ({ return: 3 }) }));
    expect(answer).toMatchObject({
      status: 'Running',
      status_code: 103,
      class: 'task',
      metadata: null,
      err: '',
      location: 'none',
      may_cancel: false,
    });
    expect(answer.resources).toEqual({ instances: ['/1.0/instances/c1'], containers: ['/1.0/containers/c1'] });
    expect(memberOfOperation(answer.id)).toBe(7);
    const done = await operations.wait(answer.id);
    expect(done).toMatchObject({ status: 'Success', status_code: 200, metadata: { return: 3 } });
    const documents = await told();
    expect(documents.map((one) => one.status)).toEqual(['Pending', 'Running', 'Success']);
    expect(documents.at(-1)).toEqual(done);
  });

  it('keeps its answer as it was', async () => {
    const answer = operations.start(request({ run: async (running) => running.update({ a: 1 }) }));
    await operations.wait(answer.id);
    expect(answer.status).toBe('Running');
    expect(answer.metadata).toBeNull();
  });

  it('fails with the public sentence only', async () => {
    const bad = operations.start(
      request({ run: () => Promise.reject(fault.conflict('The instance is already running', { detail: '/secret/path' })) }),
    );
    const broken = operations.start(request({ run: () => Promise.reject(new TypeError('x is not a function at /srv/file.ts')) }));
    expect(await operations.wait(bad.id)).toMatchObject({ status: 'Failure', status_code: 400, err: 'The instance is already running' });
    expect(await operations.wait(broken.id)).toMatchObject({ status: 'Failure', err: 'Internal error' });
    expect(JSON.stringify(await told())).not.toContain('/srv/');
  });

  it('keeps metadata that it told before it failed', async () => {
    const { id } = operations.start(
      request({
        run: async (running) => {
          running.update({ return: 127 });
          throw fault.notFound('Command not found');
        },
      }),
    );
    expect(await operations.wait(id)).toMatchObject({ err: 'Command not found', metadata: { return: 127 } });
  });

  it('tells many updates within 100 ms once, the last one never lost', async () => {
    const { id } = operations.start(
      request({
        run: async (running) => {
          for (let n = 0; n < 50; n++) running.progress('download', `rootfs: ${n}%`);
          await pause(150);
          for (let n = 50; n <= 100; n++) running.progress('download', `rootfs: ${n}%`);
        },
      }),
    );
    await operations.wait(id);
    const texts = (await told()).map((one) => one.metadata?.['download_progress'] ?? one.status);
    expect(texts).toEqual(['Pending', 'Running', 'rootfs: 49%', 'rootfs: 100%']);
  });
});

describe('waiting', () => {
  it('answers with the document as it is when the time is over', async () => {
    const { id } = operations.start(request({ run: () => pause(200) }));
    expect((await operations.wait(id, 10)).status).toBe('Running');
    expect((await operations.wait(id, 0)).status).toBe('Running');
    expect((await operations.wait(id, 5_000)).status).toBe('Success');
  });

  it('ends when nobody waits any more', async () => {
    const { id } = operations.start(request({ run: () => pause(200) }));
    expect((await operations.wait(id, undefined, AbortSignal.timeout(10))).status).toBe('Running');
  });

  it('does not know what never was', async () => {
    await expect(operations.wait('3fa85f64-5717-4562-b3fc-2c963f66afa6')).rejects.toThrow('Operation not found');
  });
});

describe('cancelling', () => {
  const untilAborted = (running: RunningOperation): Promise<void> =>
    new Promise((_, reject) => running.signal.addEventListener('abort', () => reject(new Error('aborted'))));

  it('aborts the work and ends as cancelled', async () => {
    const { id } = operations.start(request({ mayCancel: true, run: untilAborted }));
    await pause(5);
    await operations.cancel(id);
    expect(await operations.wait(id)).toMatchObject({ status: 'Cancelled', status_code: 401, err: '' });
    expect((await told()).map((one) => one.status)).toEqual(['Pending', 'Running', 'Cancelling', 'Cancelled']);
  });

  it('refuses what cannot be cancelled, or is over', async () => {
    const { id } = operations.start(request({ run: () => pause(20) }));
    await expect(operations.cancel(id)).rejects.toThrow("This operation can't be cancelled");
    await operations.wait(id);
    await expect(operations.cancel(id)).rejects.toThrow('Only running operations can be cancelled');
  });

  it('ends a token, and lists only live ones', async () => {
    const token = operations.start(request({ class: 'token', project: '', metadata: { secret: 's3cret' } }));
    expect(token.may_cancel).toBe(true);
    expect(operations.tokens().map((one) => one.id)).toEqual([token.id]);
    await operations.cancel(token.id);
    expect(operations.tokens()).toEqual([]);
  });

  it('ends a token when its time has come', async () => {
    const token = operations.start(request({ class: 'token', expiresAt: new Date(Date.now() + 30) }));
    expect((await operations.wait(token.id)).status).toBe('Cancelled');
  });
});

describe('history', () => {
  it('keeps finished operations, newest first, by project, without their secrets', async () => {
    const first = operations.start(request({ class: 'token', metadata: { secret: 's3cret', fds: { '0': 'f00' } } }));
    await operations.cancel(first.id);
    const second = operations.start(request({ project: 'p', run: async () => {} }));
    await operations.wait(second.id);
    const later = make();
    expect(later.list({})).toEqual([]);
    expect(later.list({ history: true }).map((one) => one.id)).toEqual([second.id, first.id]);
    expect(later.list({ history: true, project: 'p' }).map((one) => one.id)).toEqual([second.id]);
    expect(later.get(first.id)).toMatchObject({ status: 'Cancelled', metadata: { secret: '<hidden>' } });
    expect(await later.wait(second.id)).toMatchObject({ status: 'Success' });
  });

  it('tells as failed what was under way when the daemon ended', () => {
    const { id } = operations.start(request({ run: () => new Promise(() => {}) }));
    expect(make().get(id)).toMatchObject({ status: 'Failure', err: 'Server stopped during the operation', may_cancel: false });
  });
});

describe('shutdown', () => {
  it('cancels what can be, waits for the rest, aborts what is late, and takes no more', async () => {
    const quick = operations.start(request({ run: () => pause(30) }));
    const token = operations.start(request({ class: 'token' }));
    const late = operations.start(
      request({
        run: (running) =>
          new Promise((_, reject) => running.signal.addEventListener('abort', () => reject(fault.unavailable('LXD is shutting down')))),
      }),
    );
    await operations.shutdown(100);
    expect([quick, token, late].map(({ id }) => operations.get(id)!.status)).toEqual(['Success', 'Cancelled', 'Failure']);
    expect(() => operations.start(request({}))).toThrow('LXD is shutting down');
  });
});

describe('websockets', () => {
  const secrets = { '0': 'a'.repeat(64), control: 'b'.repeat(64) };
  let server: Server;
  let base: string;

  beforeEach(async () => {
    server = createServer();
    server.on('upgrade', (incoming, socket, head) => {
      try {
        const url = new URL(incoming.url!, 'http://x');
        operations.connect(url.pathname.slice(1), url.searchParams.get('secret') ?? '', { request: incoming, socket, head });
      } catch (error) {
        socket.end(`HTTP/1.1 ${(error as { status?: number }).status ?? 400} X\r\n\r\n`);
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => server.close());

  it('hands each socket over by its name, once', async () => {
    const names: string[] = [];
    const { id } = operations.start(
      request({
        class: 'websocket',
        run: () => pause(500),
        sockets: {
          secrets,
          connect: (name, socket) => {
            names.push(name);
            socket.on('message', (data, binary) => socket.send(data, { binary }));
          },
        },
      }),
    );
    const client = new WebSocket(`${base}/${id}?secret=${secrets['0']}`);
    await once(client, 'open');
    client.send(Buffer.from('hello'));
    const [data, binary] = await once(client, 'message');
    expect([String(data), binary, names]).toEqual(['hello', true, ['0']]);
    for (const secret of [secrets['0'], 'c'.repeat(64), '']) {
      const [error] = await once(new WebSocket(`${base}/${id}?secret=${secret}`), 'error');
      expect(String(error)).toContain('500');
    }
    client.close();
  });

  it('does not connect what is over', async () => {
    const { id } = operations.start(request({ class: 'websocket', run: async () => {}, sockets: { secrets, connect: () => {} } }));
    await operations.wait(id);
    const [error] = await once(new WebSocket(`${base}/${id}?secret=${secrets['0']}`), 'error');
    expect(String(error)).toContain('400');
  });
});
