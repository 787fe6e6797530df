import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Fault, fault } from '#kit';
import { type CallContext, type Calls, OperationsAgentService } from '#members';
import { type AdapterPair, adapters } from '#testkit';

const context: CallContext = { identity: { protocol: 'tls', username: 'abcd', address: '10.0.0.1:5' }, requestId: 'trace' };
const never = (): Promise<never> => Promise.reject(new Error('not expected'));

function handlers(some: Partial<Calls<OperationsAgentService>>): Calls<OperationsAgentService> {
  return { list: never, get: never, wait: never, cancel: never, connect: never, pruneHistory: never, ...some };
}

describe.each(adapters)('calls, %s', (_name, open) => {
  let pair: AdapterPair;
  beforeEach(async () => void (pair = await open()));
  afterEach(() => pair[Symbol.asyncDispose]());

  const serve = (some: Partial<Calls<OperationsAgentService>>): Calls<OperationsAgentService> => {
    pair.agent.serve(OperationsAgentService, handlers(some));
    return pair.gateway.calls(OperationsAgentService);
  };

  it('carries documents as they are', async () => {
    const operation = { id: 'é💥', status_code: 200, nested: { list: [1, 'a', null, true, 1.5], empty: {} }, none: null };
    const calls = serve({ get: async ({ id }) => ({ operation, project: id }) });
    expect(await calls.get({ id: 'x' }, context)).toEqual({ operation, project: 'x' });
  });

  it('carries bytes, maps and what is left out', async () => {
    let got: unknown;
    const calls = serve({
      connect: async (request) => ((got = request), {}),
      wait: async ({ timeoutMs }) => ({ operation: { absent: timeoutMs === undefined }, project: '' }),
    });
    const request = { id: 'i', secret: 's', ticket: 't', url: '/', headers: { a: 'b', host: 'x' }, head: Buffer.from([0, 255, 1]) };
    expect(await calls.connect(request, context)).toEqual({});
    expect(got).toEqual(request);
    expect((await calls.wait({ id: 'i' }, context)).operation).toEqual({ absent: true });
  });

  it('carries ten megabytes', async () => {
    const calls = serve({ get: async () => ({ operation: { text: 'x'.repeat(10 * 2 ** 20) }, project: '' }) });
    expect((await calls.get({ id: '' }, context)).operation!['text']).toHaveLength(10 * 2 ** 20);
  });

  it('says who calls, and for which request', async () => {
    const calls = serve({ cancel: async (_request, { identity, requestId }) => (expect({ identity, requestId }).toEqual(context), {}) });
    await calls.cancel({ id: 'x' }, context);
  });

  it('lets faults cross unchanged', async () => {
    const thrown = fault.conflict('Error inserting "é" into database', {
      status: 500,
      metadata: { submitId: 'ab' },
      retryAfterS: 3,
      detail: 'for the log',
    });
    const calls = serve({ get: () => Promise.reject(thrown) });
    const caught = await calls.get({ id: '' }, context).catch((error: unknown) => error);
    expect(caught).toBeInstanceOf(Fault);
    const { kind, message, status, metadata, retryAfterS, detail } = caught as Fault;
    expect({ kind, message, status, metadata, retryAfterS, detail }).toEqual({
      kind: 'conflict',
      message: 'Error inserting "é" into database',
      status: 500,
      metadata: { submitId: 'ab' },
      retryAfterS: 3,
      detail: 'for the log',
    });
  });

  it('tells nothing of an error that is no fault, though it was thrown at once', async () => {
    const calls = serve({
      get: () => {
        throw new TypeError('x of undefined');
      },
    });
    await expect(calls.get({ id: '' }, context)).rejects.toMatchObject({ kind: 'internal', message: 'Internal error' });
  });

  it('ends at its deadline, and tells the handler', async () => {
    const told = Promise.withResolvers<void>();
    const calls = serve({
      get: async (_request, { signal }) => {
        signal!.addEventListener('abort', () => told.resolve());
        return new Promise(() => {});
      },
    });
    await expect(calls.get({ id: '' }, { ...context, timeoutMs: 50 })).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'Service did not answer in time',
    });
    await told.promise;
  });

  it('ends when its caller went away, and tells the handler', async () => {
    const told = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const calls = serve({
      get: async (_request, { signal }) => {
        signal!.addEventListener('abort', () => told.resolve());
        reached.resolve();
        return new Promise(() => {});
      },
    });
    const abort = new AbortController();
    const answer = calls.get({ id: '' }, { ...context, signal: abort.signal });
    void reached.promise.then(() => abort.abort());
    await expect(answer).rejects.toMatchObject({ kind: 'unavailable', message: 'Request was cancelled' });
    await told.promise;
    await expect(calls.get({ id: '' }, { ...context, signal: abort.signal })).rejects.toMatchObject({ message: 'Request was cancelled' });
  });

  it('says that a service does not run', async () => {
    await expect(pair.gateway.calls(OperationsAgentService).get({ id: '' }, context)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('knows no other member yet', () => {
    expect(() => pair.gateway.calls(OperationsAgentService, 'm9')).toThrow('Cluster member not found');
  });
});

describe.each(adapters)('streams, %s', (_name, open) => {
  let pair: AdapterPair;
  beforeEach(async () => void (pair = await open()));
  afterEach(() => pair[Symbol.asyncDispose]());

  const text = async (stream: Readable): Promise<string> => {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  };

  it('gives the bytes, from either side', async () => {
    expect(await text(pair.agent.streams.open(pair.gateway.streams.offer(Readable.from([Buffer.from('up'), Buffer.from('load')]))))).toBe('upload');
    expect(await text(pair.gateway.streams.open(pair.agent.streams.offer(Readable.from([Buffer.from('down')]))))).toBe('down');
  });

  it('gives an empty one its end', async () => {
    expect(await text(pair.agent.streams.open(pair.gateway.streams.offer(Readable.from([]))))).toBe('');
  });

  it('tells a broken stream from a short one', async () => {
    const broken = new PassThrough();
    const reading = text(pair.agent.streams.open(pair.gateway.streams.offer(broken)));
    broken.write('half');
    setTimeout(() => broken.destroy(new Error('client went away')), 20);
    await expect(reading).rejects.toThrow();
  });

  it('tells who offers that the reader went away', async () => {
    const source = new PassThrough();
    const opened = pair.agent.streams.open(pair.gateway.streams.offer(source));
    opened.on('error', () => {});
    source.on('error', () => {});
    source.write('x');
    await once(opened, 'data');
    opened.destroy(new Error('disk full'));
    if (!source.destroyed) await new Promise<void>((resolve) => source.on('close', () => resolve()));
    expect(source.destroyed).toBe(true);
  });

  it('speaks both ways, and each may end first', async () => {
    const [offered, far] = duplexPair();
    const opened = pair.agent.streams.open(pair.gateway.streams.offer(offered)) as typeof offered;
    far.end('question');
    expect(await text(opened)).toBe('question');
    opened.end('answer');
    expect(await text(far)).toBe('answer');
  });

  it('opens a ticket once', async () => {
    const ticket = pair.gateway.streams.offer(Readable.from([Buffer.from('x')]));
    await text(pair.agent.streams.open(ticket));
    const again = async (): Promise<string> => text(pair.agent.streams.open(ticket));
    await expect(again()).rejects.toMatchObject({ kind: 'notFound', message: 'Stream not found' });
    const nonsense = async (): Promise<string> => text(pair.agent.streams.open('nonsense'));
    await expect(nonsense()).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('holds back a writer whose reader does not read', async () => {
    const chunk = Buffer.alloc(64 * 1024);
    let given = 0;
    const source = new Readable({
      read() {
        given += chunk.length;
        this.push(given > 64 * 2 ** 20 ? null : chunk);
      },
    });
    const opened = pair.agent.streams.open(pair.gateway.streams.offer(source));
    await once(opened, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(given).toBeLessThan(4 * 2 ** 20);
    const sink = new PassThrough();
    sink.resume();
    await pipeline(opened, sink);
    expect(given).toBeGreaterThan(64 * 2 ** 20);
  });
});

describe('the direct adapter in development', () => {
  const open = adapters[0]![1];

  it('freezes messages in both directions', async () => {
    await using pair = await open();
    const operation = { metadata: { a: [1] } };
    pair.agent.serve(
      OperationsAgentService,
      handlers({
        get: async (request) => {
          expect(() => ((request as { id: string }).id = 'other')).toThrow(TypeError);
          return { operation, project: '' };
        },
      }),
    );
    const reply = await pair.gateway.calls(OperationsAgentService).get({ id: '1' }, context);
    expect(() => reply.operation!['metadata'].a.push(2)).toThrow(TypeError);
  });

  it('refuses what is not plain data', async () => {
    await using pair = await open();
    pair.agent.serve(OperationsAgentService, handlers({ get: async () => ({ operation: { at: new Date() }, project: '' }) }));
    await expect(pair.gateway.calls(OperationsAgentService).get({ id: '1' }, context)).rejects.toThrow('operation.at is a Date');
  });
});
