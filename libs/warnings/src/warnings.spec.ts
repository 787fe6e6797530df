import { beforeEach, describe, expect, it } from 'vitest';
import type { ApiRequest, Reply } from '#http-kit';
import { silent } from '#kit';
import type { Applied } from '#replica';
import { internalIdentity } from '#replica/state';
import { MemoryReplica } from '#testkit';
import { MemberWarnings } from './host/index.js';
import { WarningsController } from './http/warnings.controller.js';
import { warningTypeOf, warningTypes } from './model/index.js';
import { pruneWarnings, resolveWarnings, upsertWarning, warnings, warningsState } from './state/index.js';

const as = { identity: internalIdentity };
const wallClock = { ms: 0, now: () => new Date(1_800_000_000_000 + wallClock.ms), monotonicMs: () => wallClock.ms };

let replica: MemoryReplica;
let controller: WarningsController;
let lifecycle: string[];

beforeEach(async () => {
  replica = await MemoryReplica.open({ wings: [warningsState], clock: wallClock });
  controller = new WarningsController(replica);
  lifecycle = [];
  replica.watch((applied: Applied) => lifecycle.push(...applied.commands.flatMap((command) => command.lifecycle.map(({ action }) => action))));
});

const request = (more: Partial<ApiRequest> = {}, query = ''): ApiRequest =>
  ({
    caller: { identity: internalIdentity, admin: true },
    requestId: 'r',
    query: new URLSearchParams(query),
    recursion: 0,
    filter: '',
    project: 'default',
    params: {},
    dryRun: false,
    body: {},
    ...more,
  }) as unknown as ApiRequest;
const metadata = (reply: Reply): any => (reply as { metadata: unknown }).metadata;
const say = (message: string, more: object = {}) =>
  replica.submit(upsertWarning, { uuid: crypto.randomUUID(), member: 'none', project: '', entityUrl: '', type: 0, message, ...more }, as);

describe('state', () => {
  it('counts what is said again about the same thing, and tells things apart', async () => {
    const { result: first } = await say('one');
    wallClock.ms += 1_000;
    expect((await say('two')).result).toEqual(first);
    await say('three', { project: 'default' });
    await say('four', { entityUrl: '/1.0/instances/c1' });
    const [global, ...others] = warnings(replica.reader);
    expect(others).toHaveLength(2);
    expect(global).toMatchObject({ count: 2, message: 'two' });
    expect(Date.parse(global!.lastSeen) - Date.parse(global!.firstSeen)).toBe(1_000);
  });

  it('makes a resolved one new again, and leaves an acknowledged one', async () => {
    const { uuid } = (await say('x')).result;
    const status = async (): Promise<string> => metadata(await controller.read(request({ params: { uuid } }))).status;
    await replica.submit(resolveWarnings, { member: 'none', type: 0 }, as);
    expect(await status()).toBe('resolved');
    await say('x');
    expect(await status()).toBe('new');
    await controller.replace(request({ params: { uuid }, body: { status: 'acknowledged' } }));
    await say('x');
    expect(await status()).toBe('acknowledged');
  });

  it('resolves of one thing only', async () => {
    await say('a', { entityUrl: '/1.0/instances/a' });
    await say('b', { entityUrl: '/1.0/instances/b' });
    expect((await replica.submit(resolveWarnings, { member: 'none', type: 0, entityUrl: '/1.0/instances/a' }, as)).result).toEqual({ resolved: 1 });
    expect(warnings(replica.reader).map(({ status }) => status)).toEqual([3, 1]);
  });

  it('refuses unknown codes', async () => {
    await expect(say('x', { type: 999 })).rejects.toThrow('Unknown warning type code 999');
  });

  it('prunes what has been resolved for a day', async () => {
    await say('x');
    await replica.submit(resolveWarnings, { member: 'none', type: 0 }, as);
    const prune = async (): Promise<number> => (await replica.submit(pruneWarnings, { resolvedForMs: 86_400_000 }, as)).result.pruned;
    expect(await prune()).toBe(0);
    wallClock.ms += 86_400_000;
    expect(await prune()).toBe(1);
  });
});

describe('http', () => {
  it('lists URLs and documents, filtered', async () => {
    const { uuid } = (await say('vhost_vsock kernel module not loaded', { type: 23 })).result;
    await say('pool gone', { type: 24, project: 'p' });
    expect(metadata(await controller.list(request()))[0]).toBe(`/1.0/warnings/${uuid}`);
    expect(metadata(await controller.list(request({ recursion: 1 })))[0]).toEqual({
      status: 'new',
      uuid,
      location: 'none',
      project: '',
      type: 'Instance type not operational',
      count: 1,
      first_seen_at: wallClock.now().toISOString(),
      last_seen_at: wallClock.now().toISOString(),
      last_message: 'vhost_vsock kernel module not loaded',
      severity: 'low',
      entity_url: '',
    });
    expect(metadata(await controller.list(request({ filter: 'severity eq high' })))).toHaveLength(1);
    expect(metadata(await controller.list(request({ project: 'p' }, 'project=p')))).toHaveLength(1);
  });

  it('acknowledges, resets, deletes, with their lifecycle', async () => {
    const params = { uuid: (await say('x')).result.uuid };
    await controller.patch(request({ params, body: { status: 'acknowledged' } }));
    await controller.replace(request({ params, body: { status: 'new' } }));
    expect(await controller.remove(request({ params, dryRun: true }))).toMatchObject({
      kind: 'dryRun',
      would: [{ entity: 'warnings', action: 'delete' }],
    });
    expect(await controller.remove(request({ params }))).toEqual({ kind: 'sync', metadata: {} });
    expect(lifecycle).toEqual(['warning-acknowledged', 'warning-reset', 'warning-deleted']);
    for (const call of [controller.read, controller.remove])
      await expect(call.call(controller, request({ params }))).rejects.toThrow('Warning not found');
  });

  it('refuses other statuses', async () => {
    const params = { uuid: (await say('x')).result.uuid };
    await expect(async () => controller.replace(request({ params, body: { status: 'zorg' } }))).rejects.toMatchObject({ kind: 'invalid' });
    await expect(async () => controller.replace(request({ params, body: { status: 'resolved' } }))).rejects.toMatchObject({ kind: 'forbidden' });
  });
});

describe('host', () => {
  it('records, does not repeat itself at once, and resolves', async () => {
    const host = new MemberWarnings({ replica, clock: wallClock, log: silent, member: () => 'none' });
    const about = { entityUrl: '/1.0/storage-pools/p' };
    for (let n = 0; n < 5; n++) host.raise('poolUnavailable', 'no such device', about);
    await host.settled();
    expect(warnings(replica.reader)).toMatchObject([{ count: 1, entityUrl: about.entityUrl, type: 24 }]);
    host.resolve('poolUnavailable', about);
    await host.settled();
    expect(warnings(replica.reader)).toMatchObject([{ status: 3 }]);
    host.raise('poolUnavailable', 'no such device', about);
    await host.settled();
    expect(warnings(replica.reader)).toMatchObject([{ status: 1, count: 2 }]);
  });

  it('never fails its caller', async () => {
    const broken = { submit: () => Promise.reject(new Error('no quorum')) } as unknown as MemoryReplica;
    const host = new MemberWarnings({ replica: broken, clock: wallClock, log: silent, member: () => 'none' });
    host.raise('autostartFailed', 'x');
    await host.settled();
  });
});

it('has one code each', () => {
  const codes = Object.values(warningTypes).map(({ code }) => code);
  expect(codes).toEqual(codes.map((_, index) => index));
  expect(warningTypeOf(1_000).name).toBe('Undefined warning');
});
