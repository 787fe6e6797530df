import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import type { Operation } from '#api-contract';
import { MemberEventHub } from '#events/host';
import type { ApiRequest, Caller, Reply } from '#http-kit';
import { silent, systemClock } from '#kit';
import { openLocalStore } from '#replica';
import { internalIdentity } from '#replica/state';
import { type AdapterPair, adapters } from '#testkit';
import { MemberOperations, serveOperations } from '../host/index.js';
import { OperationsController } from './operations.controller.js';

const admin: Caller = { identity: internalIdentity, trusted: true, admin: true, local: true };
const restricted: Caller = { ...admin, admin: false, projects: ['p'], local: false };
const guest: Caller = { ...admin, trusted: false, admin: false, local: false };
const context = { identity: internalIdentity, requestId: 'r' };

describe.each(adapters)('operations over http, %s', (_name, open) => {
  let pair: AdapterPair;
  let operations: MemberOperations;
  let controller: OperationsController;
  let local: ReturnType<typeof openLocalStore>;

  beforeEach(async () => {
    pair = await open();
    local = openLocalStore(':memory:');
    const events = new MemberEventHub({ clock: systemClock, location: () => 'none' });
    operations = new MemberOperations({ local, events, clock: systemClock, log: silent, memberId: () => 1, location: () => 'none' });
    serveOperations(pair.agent, operations);
    controller = new OperationsController(pair.gateway);
  });
  afterEach(async () => {
    await pair[Symbol.asyncDispose]();
    local.close();
  });

  function request(caller: Caller, path: string, id = ''): ApiRequest {
    const { searchParams: query } = new URL(path, 'http://x');
    return {
      caller,
      requestId: 'r',
      params: { id },
      query,
      project: query.get('project') ?? 'default',
      allProjects: query.get('all-projects') === 'true',
      recursion: Number(query.get('recursion') ?? 0),
      dryRun: query.get('dry-run') === '1',
      signal: new AbortController().signal,
    } as unknown as ApiRequest;
  }
  const metadata = (reply: Reply): unknown => (reply as { metadata: unknown }).metadata;
  const hold = (): Promise<void> => new Promise(() => {});
  const task = (project: string, run: () => Promise<void> = hold): Operation => operations.start({ description: 'T', project, context, run });

  it('lists by status, URLs or documents, of the project and of the server', async () => {
    const [own, server, other] = [task('default'), task(''), task('other')];
    const done = task('default', async () => {});
    await operations.wait(done.id);
    const urls = metadata(await controller.list(request(admin, '/'))) as Record<string, string[]>;
    expect(urls['running']!.sort()).toEqual([own, server].map(({ id }) => `/1.0/operations/${id}`).sort());
    expect(urls['success']).toEqual([`/1.0/operations/${done.id}`]);
    const all = metadata(await controller.list(request(admin, '/?all-projects=true&recursion=1'))) as Record<string, Operation[]>;
    expect(all['running']!.map(({ id }) => id).sort()).toEqual([own, server, other].map(({ id }) => id).sort());
    expect(all['success']![0]).toEqual(operations.get(done.id));
  });

  it('is an empty map when nothing runs', async () => {
    expect(metadata(await controller.list(request(admin, '/')))).toEqual({});
  });

  it('shows restricted callers their projects only', async () => {
    const mine = task('p');
    const [foreign, server] = [task('default'), task('')];
    for (const query of ['/?all-projects=true', '/?project=p']) {
      expect(metadata(await controller.list(request(restricted, query)))).toEqual({ running: [`/1.0/operations/${mine.id}`] });
    }
    expect(metadata(await controller.read(request(restricted, '/', mine.id)))).toMatchObject({ id: mine.id });
    for (const { id } of [foreign, server]) {
      for (const call of [controller.read, controller.remove, controller.wait]) {
        await expect(call.call(controller, request(restricted, '/', id))).rejects.toMatchObject({ kind: 'notFound', message: 'Operation not found' });
      }
    }
  });

  it('keeps history, newest first, as far as asked', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      const { id } = task('default', async () => {});
      await operations.wait(id);
      ids.unshift(id);
    }
    const later = new MemberOperations({
      local,
      events: new MemberEventHub({ clock: systemClock, location: () => 'none' }),
      clock: systemClock,
      log: silent,
      memberId: () => 1,
      location: () => 'none',
    });
    await using second = await open();
    serveOperations(second.agent, later);
    const fresh = new OperationsController(second.gateway);
    expect(metadata(await fresh.list(request(admin, '/')))).toEqual({});
    const listed = metadata(await fresh.list(request(admin, '/?history=1&limit=2&recursion=1'))) as Record<string, Operation[]>;
    expect(listed['success']!.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect(metadata(await fresh.read(request(admin, '/', ids[2])))).toMatchObject({ status: 'Success' });
    await expect(fresh.list(request(admin, '/?history=1&limit=x'))).rejects.toMatchObject({ kind: 'invalid' });
  });

  it('waits', async () => {
    const { id } = task('default', () => new Promise((resolve) => setTimeout(resolve, 60)));
    expect(metadata(await controller.wait(request(admin, '/?timeout=0', id)))).toMatchObject({ status: 'Running' });
    expect(metadata(await controller.wait(request(admin, '/?timeout=-1', id)))).toMatchObject({ status: 'Success' });
    await expect(controller.wait(request(admin, '/?timeout=soon', id))).rejects.toMatchObject({ kind: 'invalid' });
    await expect(controller.wait(request(admin, '/', '3fa85f64-5717-4562-b3fc-2c963f66afa6'))).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('lets a guest wait by the secret only', async () => {
    const { id } = operations.start({ description: 'T', class: 'token', project: 'default', context, metadata: { secret: 'open sesame' } });
    expect(metadata(await controller.wait(request(guest, '/?timeout=0&secret=open%20sesame', id)))).toMatchObject({ id });
    for (const query of ['/?timeout=0', '/?timeout=0&secret=open', '/?timeout=0&secret=open%20sesamE']) {
      await expect(controller.wait(request(guest, query, id))).rejects.toMatchObject({ kind: 'forbidden', message: 'not authorized' });
    }
  });

  it('takes what history shows in place of a secret for none', async () => {
    const { id } = operations.start({ description: 'T', class: 'token', project: 'default', context, metadata: { secret: 'open sesame' } });
    await operations.cancel(id);
    const events = new MemberEventHub({ clock: systemClock, location: () => 'none' });
    await using second = await open();
    serveOperations(
      second.agent,
      new MemberOperations({ local, events, clock: systemClock, log: silent, memberId: () => 1, location: () => 'none' }),
    );
    const later = new OperationsController(second.gateway);
    expect(metadata(await later.read(request(admin, '/', id)))).toMatchObject({ metadata: { secret: '<hidden>' } });
    for (const secret of ['<hidden>', 'open sesame']) {
      const asked = later.wait(request(guest, `/?secret=${encodeURIComponent(secret)}`, id));
      await expect(asked).rejects.toMatchObject({ kind: 'forbidden' });
    }
  });

  it('cancels, or says that it would', async () => {
    const { id } = operations.start({ description: 'T', class: 'token', project: 'p', context });
    expect(await controller.remove(request(restricted, '/?dry-run=1', id))).toMatchObject({ kind: 'dryRun' });
    expect(operations.get(id)!.status).toBe('Running');
    expect(metadata(await controller.remove(request(restricted, '/', id)))).toEqual({});
    expect(operations.get(id)!.status).toBe('Cancelled');
    const fixed = task('p');
    for (const query of ['/', '/?dry-run=1']) {
      await expect(controller.remove(request(restricted, query, fixed.id))).rejects.toMatchObject({
        kind: 'invalid',
        message: "This operation can't be cancelled",
      });
    }
  });

  describe('websockets', () => {
    const secret = 'd'.repeat(64);
    let server: Server;
    beforeEach(async () => {
      server = createServer();
      server.on('upgrade', (incoming, socket, head) => {
        socket.on('error', () => socket.destroy());
        const id = new URL(incoming.url!, 'http://x').pathname.slice(1);
        controller
          .connect(request(guest, incoming.url!, id), { request: incoming, socket, head })
          .catch((error: { status?: number }) => socket.end(`HTTP/1.1 ${error.status ?? 400} No\r\n\r\n`));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    });
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = (id: string, its: string): string => `ws://127.0.0.1:${(server.address() as AddressInfo).port}/${id}?secret=${its}`;

    it('hands the connection to the owner of the operation, both ways, to its end', async () => {
      const ended = Promise.withResolvers<void>();
      const { id } = operations.start({
        description: 'T',
        class: 'websocket',
        project: 'default',
        context,
        run: hold,
        sockets: {
          secrets: { '0': secret },
          connect: (_fd, socket) => {
            socket.on('message', (data, binary) => (binary ? socket.send(data, { binary: true }) : socket.send('')));
            socket.on('close', () => ended.resolve());
          },
        },
      });
      const client = new WebSocket(url(id, secret));
      await once(client, 'open');
      const payload = Buffer.alloc(1_000_000, 7);
      client.send(payload);
      const [echo, binary] = await once(client, 'message');
      expect([Buffer.compare(echo as Buffer, payload), binary]).toEqual([0, true]);
      client.send('');
      const [end, endBinary] = await once(client, 'message');
      expect([String(end), endBinary]).toEqual(['', false]);
      client.close();
      await ended.promise;
      const [error] = await once(new WebSocket(url(id, secret)), 'error');
      expect(String(error)).toContain('500');
    });

    it('answers a wrong secret and leaves the right one usable', async () => {
      const { id } = operations.start({
        description: 'T',
        class: 'websocket',
        project: 'default',
        context,
        run: hold,
        sockets: { secrets: { '0': secret }, connect: () => {} },
      });
      const [error] = await once(new WebSocket(url(id, 'e'.repeat(64))), 'error');
      expect(String(error)).toContain('500');
      const [missing] = await once(new WebSocket(url(id, '')), 'error');
      expect(String(missing)).toContain('400');
      const client = new WebSocket(url(id, secret));
      await once(client, 'open');
      client.terminate();
    });
  });
});
