import { describe, expect, it } from 'vitest';
import { noConfiguration, type Message, type MessageBody, type SnapshotMeta, type SnapshotSource } from './index.js';
import { Lone, entry } from './testing/lone.js';

type Of<T extends Message['type']> = Extract<Message, { type: T }>;
const chunks = (messages: readonly Message[]): Of<'snapshot-chunk'>[] =>
  messages.filter((m): m is Of<'snapshot-chunk'> => m.type === 'snapshot-chunk');
const configuration = { ...noConfiguration, voters: [1, 2, 3] };
const meta = (index: number, more: Partial<SnapshotMeta> = {}): SnapshotMeta => ({
  index,
  term: 1,
  configuration,
  sizeBytes: 10,
  hash: `h${index}`,
  ...more,
});

class Source implements SnapshotSource {
  asked = 0;
  constructor(public now: SnapshotMeta | undefined) {}
  latest() {
    this.asked++;
    return this.now;
  }
  read(which: SnapshotMeta, offset: number, maxBytes: number) {
    return which.hash === this.now?.hash ? new Uint8Array(Math.min(maxBytes, which.sizeBytes - offset)) : undefined;
  }
}

/** A leader whose log begins at 6; 2 is behind, and was heard just now. */
function sender(source: Source): Lone {
  const lone = new Lone({
    base: { index: 5, term: 1 },
    hardState: { term: 1, commit: 5 },
    snapshots: source,
    limits: { chunkBytes: 4, chunksInflight: 2 },
  }).lead(500, [2, 3]);
  lone.receive(3, 2, { type: 'append-ack', index: 6, round: 0 }, 500).settle();
  lone.receive(2, 2, { type: 'append-refused', index: 5, hint: { index: 1, term: 1 }, round: 0 }, 510);
  return lone;
}

const ack = (index: number, receivedBytes: number, status: 'more' | 'done' | 'bad' = 'more'): MessageBody => ({
  type: 'snapshot-ack',
  index,
  hash: `h${index}`,
  receivedBytes,
  status,
});

describe('a leader whose log is too short for a peer', () => {
  it('asks its host for a snapshot until there is one', () => {
    const source = new Source(undefined);
    const lone = sender(source);
    expect(
      lone
        .settle()
        .readys.map((r) => r.snapshotWanted)
        .filter((n) => n !== undefined),
    ).toEqual([5]);
    source.now = meta(3);
    lone.node.tick(550);
    expect(lone.settle().readys.some((r) => r.snapshotWanted === 5)).toBe(true);
    source.now = meta(5);
    lone.node.tick(600);
    expect(chunks(lone.settle().messages)).toMatchObject([{ to: 2, offset: 0, meta: { index: 5 } }]);
  });

  it('sends the first chunk alone, then as many as may be under way', () => {
    const lone = sender(new Source(meta(5)));
    expect(chunks(lone.settle().messages).map((m) => m.offset)).toEqual([0]);
    expect(chunks(lone.receive(2, 2, ack(5, 4), 520).settle().messages).map((m) => m.offset)).toEqual([4, 8]);
    expect(lone.node.pinnedIndex()).toBe(6);
    expect(chunks(lone.receive(2, 2, ack(5, 8), 520).settle().messages)).toEqual([]);
    lone.receive(2, 2, { type: 'append-ack', index: 5, round: 0 }, 530);
    lone.receive(2, 2, ack(5, 10, 'done'), 530);
    const { messages } = lone.settle();
    expect(messages).toMatchObject([{ type: 'append', to: 2, previous: { index: 5 } }]);
    expect(lone.node.pinnedIndex()).toBeUndefined();
  });

  it('goes on behind what the peer has of it already', () => {
    const lone = sender(new Source(meta(5)));
    lone.settle();
    expect(chunks(lone.receive(2, 2, ack(5, 8), 520).settle().messages).map((m) => m.offset)).toEqual([8]);
  });

  it('sends again from what was acknowledged last', () => {
    const lone = sender(new Source(meta(5)));
    lone.settle();
    lone.receive(2, 2, ack(5, 4), 520).settle();
    const again: number[] = [];
    for (let now = 550; now <= 800; now += 50) {
      lone.node.tick(now);
      again.push(...chunks(lone.settle().messages).map((m) => m.offset));
    }
    expect(again).toEqual([4, 8]);
  });

  it('begins anew with another when the snapshot is gone or was damaged on the way', () => {
    const source = new Source(meta(5));
    const lone = sender(source);
    lone.settle();
    source.now = meta(6);
    lone.receive(2, 2, ack(5, 4), 520).settle();
    lone.node.tick(550);
    expect(chunks(lone.settle().messages)).toMatchObject([{ offset: 0, meta: { index: 6 } }]);
    lone.receive(2, 2, ack(6, 0, 'bad'), 560);
    expect(chunks(lone.settle().messages)).toMatchObject([{ offset: 0, meta: { index: 6 } }]);
  });

  it('gives up a transfer that does not go on, and pins nothing for a peer that is silent', () => {
    const lone = sender(new Source(meta(5)));
    lone.settle();
    for (let now = 550; now <= 10_600; now += 50) {
      lone.node.tick(now);
      lone.receive(3, 2, { type: 'heartbeat-ack', round: 0 }, now).settle();
      if (now === 10_000) expect(lone.node.pinnedIndex()).toBe(6);
    }
    expect(lone.node.pinnedIndex()).toBeUndefined();
  });

  it('goes on replicating to a peer that wants a snapshot for its state machine only', () => {
    const lone = new Lone({ log: [entry(1, 1)], snapshots: new Source(meta(2)), limits: { chunkBytes: 10 } }).lead(500, [2, 3]);
    for (const id of [2, 3]) lone.receive(id, 2, { type: 'append-ack', index: 2, round: 0 }, 500);
    lone.settle();
    lone.receive(2, 2, { type: 'snapshot-request', minIndex: 2 }, 510);
    lone.propose('x');
    const types = lone
      .settle()
      .messages.filter((m) => m.to === 2)
      .map((m) => m.type);
    expect(types).toEqual(['snapshot-chunk', 'append']);
    lone.receive(2, 2, ack(2, 10, 'done'), 520).settle();
    lone.node.tick(1_000);
    expect(chunks(lone.settle().messages)).toEqual([]);
  });
});

describe('a member that gets a snapshot', () => {
  const chunk = (which: SnapshotMeta, offset: number, size: number): MessageBody => ({
    type: 'snapshot-chunk',
    meta: which,
    offset,
    data: new Uint8Array(size),
  });
  const acks = (messages: readonly Message[]) => messages.flatMap((m) => (m.type === 'snapshot-ack' ? [`${m.status} ${m.receivedBytes}`] : []));

  it('takes chunks in order, has them checked, and installs', () => {
    const lone = new Lone({ log: [entry(1, 1)] });
    expect(acks(lone.receive(2, 1, chunk(meta(9), 0, 4), 100).settle().messages)).toEqual(['more 4']);
    expect(acks(lone.receive(2, 1, chunk(meta(9), 8, 2), 100).settle().messages)).toEqual(['more 4']);
    const { readys } = lone.receive(2, 1, chunk(meta(9), 4, 6), 100).settle();
    expect(readys.map((r) => r.snapshotChunk?.last)).toContain(true);
    lone.node.snapshotReceived(meta(9), true);
    const ready = lone.take();
    expect(ready.snapshot).toEqual({ meta: meta(9), replaces: 'everything' });
    expect(ready.hardState).toMatchObject({ commit: 9 });
    expect(ready.messagesAfterPersist.map((m) => m.type)).toEqual(['append-ack', 'snapshot-ack']);
    expect(ready.messagesNow).toEqual([]);
    lone.write();
    lone.receive(2, 1, { type: 'append', previous: { index: 9, term: 1 }, entries: [entry(10, 1, 'x')], commit: 10, round: 0 }, 110);
    // Nothing goes into the state machine while the snapshot is on its way there.
    expect(lone.take().committed).toEqual([]);
    lone.write();
    lone.node.applied(9);
    expect(lone.node.ready().committed.map((e) => e.index)).toEqual([10]);
  });

  it('takes no other while one is checked or installed', () => {
    const lone = new Lone();
    lone.receive(2, 1, chunk(meta(9), 0, 10), 100).settle();
    expect(lone.receive(2, 1, chunk(meta(12), 0, 4), 110).settle().messages).toEqual([]);
    lone.node.snapshotReceived(meta(9), true);
    lone.take();
    lone.write();
    expect(lone.receive(2, 1, chunk(meta(12), 0, 4), 120).take().snapshotChunk).toBeUndefined();
    lone.node.applied(9);
    expect(acks(lone.receive(2, 1, chunk(meta(12), 0, 4), 130).settle().messages)).toEqual(['more 4']);
  });

  it('says so when the bytes were bad', () => {
    const lone = new Lone();
    lone.receive(2, 1, chunk(meta(9), 0, 10), 100).settle();
    lone.node.snapshotReceived(meta(9), false);
    const { messages, readys } = lone.settle();
    expect(acks(messages)).toEqual(['bad 0']);
    expect(readys.some((r) => r.snapshot)).toBe(false);
  });

  it('does not need one whose place its log has', () => {
    const lone = new Lone({ log: [entry(1, 1), entry(2, 1, 'x')] });
    const { messages } = lone.receive(2, 1, chunk(meta(2), 0, 4), 100).settle();
    expect(acks(messages)).toEqual(['done 10']);
    expect(lone.node.status()).toMatchObject({ commit: 2, last: { index: 2 } });
  });

  it('forgets one that became needless while it was checked', () => {
    const lone = new Lone({ log: [entry(1, 1)] });
    lone.receive(2, 1, chunk(meta(2), 0, 10), 100).settle();
    lone.receive(2, 1, { type: 'append', previous: { index: 1, term: 1 }, entries: [entry(2, 1), entry(3, 1)], commit: 3, round: 0 }, 110).settle();
    lone.node.snapshotReceived(meta(2), true);
    expect(lone.settle().readys.some((r) => r.snapshot)).toBe(false);
    expect(lone.last).toBe(3);
  });

  it('goes on with what it had before a restart', () => {
    const lone = new Lone({ partialSnapshot: { meta: meta(9), receivedBytes: 8 } });
    expect(acks(lone.receive(2, 1, chunk(meta(9), 0, 4), 100).settle().messages)).toEqual(['more 8']);
    const { readys } = lone.receive(2, 1, chunk(meta(9), 8, 2), 100).settle();
    expect(readys.find((r) => r.snapshotChunk)!.snapshotChunk).toMatchObject({ offset: 8, last: true });
  });

  it('takes an empty one', () => {
    const empty = meta(9, { sizeBytes: 0 });
    const { readys } = new Lone().receive(2, 1, chunk(empty, 0, 0), 100).settle();
    expect(readys.find((r) => r.snapshotChunk)!.snapshotChunk).toMatchObject({ offset: 0, last: true });
  });
});

describe('a state machine that needs a snapshot', () => {
  it('asks the leader until it has one, hands out nothing, and does not stand for election', () => {
    const lone = new Lone({ log: [entry(1, 1), entry(2, 1, 'x')] });
    lone.node.requestSnapshot(2);
    lone.receive(2, 1, { type: 'heartbeat', commit: 2, round: 1 }, 100);
    expect(lone.settle().committed).toEqual([]);
    const asked: number[] = [];
    for (let now = 150; now <= 2_200; now += 50) {
      lone.receive(2, 1, { type: 'heartbeat', commit: 2, round: 1 }, now);
      lone.node.tick(now);
      asked.push(...lone.settle().messages.flatMap((m) => (m.type === 'snapshot-request' ? [m.minIndex] : [])));
    }
    expect(asked).toEqual([2, 2, 2]);
    for (let now = 2_250; now <= 4_000; now += 50) lone.node.tick(now);
    expect(lone.settle().messages.filter((m) => m.type === 'pre-vote')).toEqual([]);
  });

  it('gets it without any change to log and hard state, and goes on behind it', () => {
    const lone = new Lone({ log: [entry(1, 1), entry(2, 1, 'x'), entry(3, 1, 'y')] });
    lone.receive(2, 1, { type: 'heartbeat', commit: 3, round: 1 }, 100);
    expect(lone.settle().committed.map((e) => e.index)).toEqual([1, 2, 3]);
    lone.node.requestSnapshot(2);
    lone.receive(2, 1, { type: 'snapshot-chunk', meta: meta(2), offset: 0, data: new Uint8Array(10) }, 110).settle();
    lone.node.snapshotReceived(meta(2), true);
    const { readys, committed } = lone.settle();
    expect(readys.find((r) => r.snapshot)!.snapshot!.replaces).toBe('state-machine');
    expect(committed.map((e) => e.index)).toEqual([3]);
    expect(lone.node.status()).toMatchObject({ last: { index: 3 }, commit: 3, applied: 3 });
  });

  it('asks for no less than where its log begins by the time it asks', () => {
    const lone = new Lone({ log: [entry(1, 1), entry(2, 1, 'x'), entry(3, 1, 'y')] });
    lone.receive(2, 1, { type: 'heartbeat', commit: 3, round: 1 }, 100).settle();
    lone.node.requestSnapshot(1);
    expect(lone.settle().messages).toMatchObject([{ type: 'snapshot-request', minIndex: 1 }]);
    lone.storage.compact(2);
    lone.receive(2, 1, { type: 'snapshot-chunk', meta: meta(1), offset: 0, data: new Uint8Array(10) }, 110);
    expect(lone.settle().readys.some((r) => r.snapshotChunk)).toBe(false);
    lone.node.tick(1_200);
    expect(lone.settle().messages.filter((m) => m.type === 'snapshot-request')).toMatchObject([{ minIndex: 2 }]);
  });

  it('asks by itself when it starts behind the log, and learns the configuration from the snapshot', () => {
    const later = { ...configuration, voters: [1, 2, 3, 4] };
    const lone = new Lone({ base: { index: 8, term: 1 }, applied: { index: 3, configuration }, hardState: { term: 1, commit: 8 } });
    lone.receive(2, 1, { type: 'heartbeat', commit: 8, round: 1 }, 100);
    lone.node.tick(150);
    expect(lone.settle().messages.some((m) => m.type === 'snapshot-request' && m.minIndex === 8)).toBe(true);
    const which = meta(8, { configuration: later });
    lone.receive(2, 1, { type: 'snapshot-chunk', meta: which, offset: 0, data: new Uint8Array(10) }, 160).settle();
    lone.node.snapshotReceived(which, true);
    lone.settle();
    expect(lone.node.status()).toMatchObject({ applied: 8, configuration: later });
  });

  it('makes a leader step down', () => {
    const lone = new Lone().lead(500, [2, 3]);
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: 0 }, 510).settle();
    lone.node.requestSnapshot(1);
    expect(lone.settle().messages.filter((m) => m.type === 'timeout-now')).toMatchObject([{ to: 2 }]);
    expect(lone.node.status().role).toBe('follower');
  });
});
