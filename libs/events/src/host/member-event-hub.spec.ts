import { describe, expect, it } from 'vitest';
import type { Clock } from '#kit';
import type { EventRecord, EventStream, ListenOptions } from './event-hub.js';
import { publishApplied } from './lifecycle-bridge.js';
import { MemberEventHub } from './member-event-hub.js';

class ManualClock implements Clock {
  ms = 0;
  now = (): Date => new Date(1_700_000_000_000 + this.ms);
  monotonicMs = (): number => this.ms;
}

const all: ListenOptions = { types: ['operation', 'lifecycle', 'logging'] };

function hubs(options: Partial<ConstructorParameters<typeof MemberEventHub>[0]> = {}) {
  const clock = new ManualClock();
  return { clock, hub: new MemberEventHub({ clock, location: () => 'none', ...options }) };
}

/** Everything until the stream ends; the hub is closed by the caller, or here. */
async function drain(stream: EventStream): Promise<EventRecord[]> {
  const records: EventRecord[] = [];
  for await (const record of stream) records.push(record);
  return records;
}

const names = (records: EventRecord[]): unknown[] => records.map((record) => JSON.parse(record.json).metadata);

describe('delivery', () => {
  it('gives each listener all events in order, numbered without gaps', async () => {
    const { hub } = hubs();
    const streams = [hub.listen(all), hub.listen(all)];
    for (let n = 1; n <= 500; n++) hub.publish({ type: 'operation', project: 'default', metadata: n });
    hub.close('over');
    for (const stream of streams) {
      const records = await drain(stream);
      expect(names(records)).toEqual(Array.from({ length: 500 }, (_, n) => n + 1));
      expect(records.map((record) => record.number)).toEqual(names(records));
      expect(stream.reason).toBe('over');
    }
  });

  it('keeps what was published, not what it became', async () => {
    const { hub } = hubs();
    const stream = hub.listen(all);
    const metadata = { status: 'Running' };
    hub.publish({ type: 'operation', project: 'default', metadata });
    metadata.status = 'Success';
    hub.close('');
    expect(names(await drain(stream))).toEqual([{ status: 'Running' }]);
  });

  it('filters by type and project, and hides foreign projects and server events from restricted callers', async () => {
    const { hub } = hubs();
    const mine = hub.listen({ types: ['operation'], project: 'p' });
    const everything = hub.listen({ types: ['operation'] });
    const restricted = hub.listen({ types: ['operation'], visible: ['p'] });
    hub.publish({ type: 'lifecycle', project: 'p', metadata: 'a lifecycle' });
    hub.publish({ type: 'operation', project: 'p', metadata: 'p' });
    hub.publish({ type: 'operation', project: 'q', metadata: 'q' });
    hub.publish({ type: 'operation', metadata: 'server' });
    hub.close('');
    expect(names(await drain(mine))).toEqual(['p', 'server']);
    expect(names(await drain(everything))).toEqual(['p', 'q', 'server']);
    expect(names(await drain(restricted))).toEqual(['p']);
  });

  it('leaves the project out of a frame when there is none', async () => {
    const { hub } = hubs();
    const stream = hub.listen(all);
    hub.publish({ type: 'logging', metadata: {} });
    hub.close('');
    const frame = JSON.parse((await drain(stream))[0]!.json);
    expect(Object.keys(frame).sort()).toEqual(['boot', 'location', 'metadata', 'number', 'timestamp', 'type']);
  });

  it('cuts a listener that does not keep up, and no other', async () => {
    const { hub } = hubs({ queue: { events: 10, bytes: 1e6 } });
    const slow = hub.listen(all);
    const quick = hub.listen(all);
    const got: unknown[] = [];
    const reading = (async () => {
      for await (const record of quick) got.push(JSON.parse(record.json).metadata);
    })();
    for (let n = 0; n < 30; n++) {
      hub.publish({ type: 'lifecycle', metadata: n });
      await Promise.resolve();
      await new Promise(setImmediate);
    }
    hub.close('over');
    await reading;
    expect(got).toHaveLength(30);
    expect(slow.reason).toBe('listener too slow');
    expect(await drain(slow)).toEqual([]);
    expect(hub.wanted('lifecycle')).toBe(false);
  });

  it('counts characters too', () => {
    const { hub } = hubs({ queue: { events: 1000, bytes: 1000 } });
    const stream = hub.listen(all);
    hub.publish({ type: 'lifecycle', metadata: 'x'.repeat(2000) });
    expect(stream.reason).toBe('listener too slow');
  });
});

describe('resuming', () => {
  it('gives what came after the place, once', async () => {
    const { hub } = hubs();
    for (let n = 1; n <= 5; n++) hub.publish({ type: 'lifecycle', metadata: n });
    const stream = hub.listen({ ...all, since: [{ member: 'none', boot: hub.boot, number: 3 }] });
    hub.publish({ type: 'lifecycle', metadata: 6 });
    hub.close('');
    expect(names(await drain(stream))).toEqual([4, 5, 6]);
  });

  it('says what is lost when the ring has moved on', async () => {
    const { hub } = hubs({ ring: { events: 3, bytes: 1e6, ageMs: 1e6 } });
    for (let n = 1; n <= 10; n++) hub.publish({ type: 'lifecycle', metadata: n });
    const stream = hub.listen({ ...all, since: [{ member: 'none', boot: hub.boot, number: 2 }] });
    hub.close('');
    const records = await drain(stream);
    expect(JSON.parse(records[0]!.json)).toMatchObject({ type: 'lost', metadata: { from: 3, to: 7 } });
    expect(names(records.slice(1))).toEqual([8, 9, 10]);
  });

  it('forgets by age', async () => {
    const { hub, clock } = hubs();
    hub.publish({ type: 'lifecycle', metadata: 'old' });
    clock.ms += 600_001;
    hub.publish({ type: 'lifecycle', metadata: 'new' });
    const stream = hub.listen({ ...all, since: [{ member: 'none', boot: hub.boot, number: 0 }] });
    hub.close('');
    const records = await drain(stream);
    expect(records.map((record) => record.type)).toEqual(['lost', 'lifecycle']);
  });

  it('tells a client of an earlier boot that all of it is lost, and goes on with this boot from its beginning', async () => {
    const { hub } = hubs();
    hub.publish({ type: 'lifecycle', metadata: 1 });
    const stream = hub.listen({ ...all, since: [{ member: 'none', boot: 'feedfeedfeedfeed', number: 7 }] });
    hub.close('');
    const records = await drain(stream);
    expect(JSON.parse(records[0]!.json)).toMatchObject({ type: 'lost', metadata: { boot: 'feedfeedfeedfeed', from: 8, to: null } });
    expect(names(records.slice(1))).toEqual([1]);
  });

  it('lets a full backlog through, however small the queue', async () => {
    const { hub } = hubs({ queue: { events: 5, bytes: 1e6 } });
    for (let n = 1; n <= 100; n++) hub.publish({ type: 'lifecycle', metadata: n });
    const stream = hub.listen({ ...all, since: [{ member: 'none', boot: hub.boot, number: 0 }] });
    hub.publish({ type: 'lifecycle', metadata: 101 });
    hub.close('');
    expect(await drain(stream)).toHaveLength(101);
  });
});

describe('other members', () => {
  const frame = (number: number) => ({
    type: 'lifecycle' as const,
    boot: 'b2',
    number,
    location: 'm2',
    json: JSON.stringify({ metadata: `m2-${number}` }),
  });

  it('brings their events in once and in order', async () => {
    const { hub } = hubs();
    const stream = hub.listen(all);
    for (const number of [4, 5, 5, 4, 6]) hub.inject(frame(number));
    hub.close('');
    expect(names(await drain(stream))).toEqual(['m2-4', 'm2-5', 'm2-6']);
  });

  it('resumes them by their own numbers, and knows a gap', async () => {
    const { hub } = hubs();
    for (const number of [4, 5, 8, 9]) hub.inject(frame(number));
    const stream = hub.listen({ ...all, since: [{ member: 'm2', boot: 'b2', number: 4 }] });
    hub.close('');
    const records = await drain(stream);
    expect(JSON.parse(records[0]!.json).metadata).toEqual({ boot: 'b2', from: 5, to: 7 });
    expect(names(records.slice(1))).toEqual(['m2-8', 'm2-9']);
  });
});

it('publishes the lifecycle of commands that this member submitted, with their requestor', async () => {
  const { hub } = hubs();
  const stream = hub.listen(all);
  let tell: ((applied: never) => void) | undefined;
  publishApplied({ watch: (listener) => ((tell = listener as never), { [Symbol.dispose]() {} }) }, hub);
  const lifecycle = [{ action: 'profile-created', source: '/1.0/profiles/p', project: 'default' }];
  const identity = { protocol: 'unix', username: 'root', address: '@' };
  const command = { name: 'profiles.create', identity, submitId: 's', lifecycle };
  tell!({
    index: 1,
    time: new Date(),
    touched: [],
    commands: [
      { ...command, mine: true },
      { ...command, mine: false },
    ],
  } as never);
  hub.close('');
  expect(names(await drain(stream))).toEqual([
    { action: 'profile-created', source: '/1.0/profiles/p', requestor: { username: 'root', protocol: 'unix', address: '@' } },
  ]);
});
