import { describe, expect, it } from 'vitest';
import { noConfiguration, type Message } from './index.js';
import { Lone, entry } from './testing/lone.js';

const types = (messages: readonly Message[]): string[] => messages.map((m) => `${m.type} to ${m.to} in ${m.term}`);
const last = { term: 0, index: 0 };
const heartbeat = { type: 'heartbeat', commit: 0, round: 1 } as const;

describe('a follower that hears no leader', () => {
  it('asks first, and raises its term only when a majority would vote', () => {
    const lone = new Lone();
    lone.node.tick(450);
    lone.node.tick(500);
    expect(types(lone.settle().messages)).toEqual(['pre-vote to 2 in 1', 'pre-vote to 3 in 1']);
    expect(lone.hardState.term).toBe(0);
    lone.receive(2, 1, { type: 'pre-vote-answer', granted: true }, 510);
    const ready = lone.take();
    expect(ready.hardState).toEqual({ term: 1, vote: 1, commit: 0 });
    expect(types(ready.messagesAfterPersist)).toEqual(['vote to 2 in 1', 'vote to 3 in 1']);
    expect(ready.messagesNow).toEqual([]);
  });

  it('counts its own vote once that is durable', () => {
    const lone = new Lone({ configuration: { ...noConfiguration, voters: [1, 2] } });
    lone.node.tick(450);
    lone.node.tick(500);
    lone.settle();
    lone.receive(2, 1, { type: 'pre-vote-answer', granted: true }, 510).take();
    lone.receive(2, 1, { type: 'vote-answer', granted: true }, 520);
    expect(lone.node.status().role).toBe('candidate');
    lone.write();
    expect(lone.node.status().role).toBe('leader');
  });

  it('gives up when a majority refuses, and tries again', () => {
    const lone = new Lone();
    lone.node.tick(450);
    lone.node.tick(500);
    lone.settle();
    for (const id of [2, 3]) lone.receive(id, 0, { type: 'pre-vote-answer', granted: false }, 510);
    expect(lone.node.status()).toMatchObject({ role: 'follower', term: 0 });
    for (let now = 550; now <= 1_050; now += 50) lone.node.tick(now);
    expect(types(lone.settle().messages)).toContain('pre-vote to 2 in 1');
  });

  it('does not stand while it is a learner, not promotable, or no member at all', () => {
    for (const options of [
      { configuration: { ...noConfiguration, voters: [2], learners: [1] } },
      { promotable: false },
      { configuration: noConfiguration },
    ]) {
      const lone = new Lone(options);
      for (let now = 50; now <= 3_000; now += 50) lone.node.tick(now);
      expect(lone.settle().messages.filter((m) => m.type === 'pre-vote')).toEqual([]);
    }
  });

  it('does not win what it began when it may not lead any more', () => {
    for (const stop of [(lone: Lone) => lone.node.setPromotable(false, 520), (lone: Lone) => lone.node.requestSnapshot(0)]) {
      const lone = new Lone();
      lone.node.tick(450);
      lone.node.tick(500);
      lone.receive(2, 1, { type: 'pre-vote-answer', granted: true }, 510).settle();
      stop(lone);
      lone.receive(2, 1, { type: 'vote-answer', granted: true }, 530).settle();
      expect(lone.node.status()).toMatchObject({ role: 'follower', term: 1 });
    }
  });

  it('looks at what came in during a pause before it calls the leader dead', () => {
    const lone = new Lone();
    for (let now = 50; now <= 300; now += 50) lone.node.tick(now);
    lone.node.tick(2_000);
    expect(lone.settle().messages.filter((m) => m.type === 'pre-vote')).toEqual([]);
    lone.receive(2, 0, heartbeat, 2_010);
    lone.node.tick(2_050);
    expect(lone.settle().messages.filter((m) => m.type === 'pre-vote')).toEqual([]);
  });

  it('does not wait for ever where every tick is late', () => {
    const lone = new Lone();
    lone.node.tick(1_000);
    lone.node.tick(2_000);
    expect(lone.settle().messages.some((m) => m.type === 'pre-vote')).toBe(true);
  });

  it('asks earlier when the connection to the leader broke, but not inside its promise', () => {
    const lone = new Lone({ random: () => 0.9 });
    lone.receive(2, 1, heartbeat, 600).settle();
    lone.node.peerUnreachable(2, 700);
    for (let now = 750; now < 1_100; now += 50) lone.node.tick(now);
    expect(lone.settle().messages.filter((m) => m.type === 'pre-vote')).toEqual([]);
    lone.node.tick(1_100);
    expect(lone.settle().messages.some((m) => m.type === 'pre-vote')).toBe(true);
  });

  it('does not mind the connection to anybody else', () => {
    const lone = new Lone({ random: () => 0.9 });
    lone.receive(2, 1, heartbeat, 600).settle();
    lone.node.peerUnreachable(3, 700);
    for (let now = 750; now <= 1_100; now += 50) lone.node.tick(now);
    expect(lone.settle().messages.filter((m) => m.type === 'pre-vote')).toEqual([]);
  });
});

describe('a voter', () => {
  it('answers a pre-vote without changing anything', () => {
    const lone = new Lone();
    const { messages } = lone.receive(2, 5, { type: 'pre-vote', last }, 600).settle();
    expect(messages.at(-1)).toMatchObject({ type: 'pre-vote-answer', granted: true, term: 5 });
    expect(lone.node.status()).toMatchObject({ term: 0, vote: undefined });
  });

  it('refuses a pre-vote in its promise, for an older log, and for a term that is not new', () => {
    const lone = new Lone({ log: [entry(1, 3)] });
    lone.receive(2, 3, heartbeat, 600).settle();
    expect(
      lone
        .receive(3, 4, { type: 'pre-vote', last: { term: 3, index: 1 } }, 700)
        .settle()
        .messages.at(-1),
    ).toMatchObject({ granted: false });
    expect(
      lone
        .receive(3, 4, { type: 'pre-vote', last: { term: 2, index: 9 } }, 1_200)
        .settle()
        .messages.at(-1),
    ).toMatchObject({ granted: false });
    expect(
      lone
        .receive(3, 3, { type: 'pre-vote', last: { term: 3, index: 1 } }, 1_200)
        .settle()
        .messages.at(-1),
    ).toMatchObject({ granted: false });
  });

  it('does not even take over the term of a candidate while its promise runs', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 600).settle();
    expect(lone.receive(3, 2, { type: 'vote', last, transfer: false }, 700).settle().messages).toEqual([]);
    expect(lone.node.status().term).toBe(1);
  });

  it('lays its promise aside when the leader itself asked for the election', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 600).settle();
    const { messages } = lone.receive(3, 2, { type: 'vote', last, transfer: true }, 700).settle();
    expect(messages).toMatchObject([{ type: 'vote-answer', granted: true, term: 2 }]);
  });

  it('tells who lags behind what term it is', () => {
    const lone = new Lone({ hardState: { term: 7, commit: 0 } });
    for (const body of [heartbeat, { type: 'pre-vote', last } as const, { type: 'vote', last, transfer: false } as const]) {
      expect(lone.receive(2, 3, body, 600).settle().messages.at(-1)?.term).toBe(7);
    }
  });

  it('stands at once when its leader says so, and only then', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 600).settle();
    expect(lone.receive(3, 1, { type: 'timeout-now' }, 610).settle().messages).toEqual([]);
    expect(types(lone.receive(2, 1, { type: 'timeout-now' }, 610).settle().messages)).toEqual(['vote to 2 in 2', 'vote to 3 in 2']);
  });
});

describe('a leader', () => {
  it('gives up office when it heard no majority for a second', () => {
    const lone = new Lone().lead(500, [2]);
    expect(lone.node.status().role).toBe('leader');
    for (let now = 550; now < 1_500; now += 50) lone.node.tick(now);
    expect(lone.node.status().role).toBe('leader');
    lone.node.tick(1_500);
    expect(lone.node.status().role).toBe('follower');
  });

  it('stays as long as one of two others answers', () => {
    const lone = new Lone().lead(500, [2]);
    for (let now = 550; now < 5_000; now += 50) {
      lone.node.tick(now);
      lone.receive(3, 1, { type: 'heartbeat-ack', round: 0 }, now);
    }
    expect(lone.node.status().role).toBe('leader');
  });

  it('gives way to a higher term, and refuses what waits', () => {
    const lone = new Lone().lead(500, [2]);
    lone.node.readIndex(5, 510);
    lone.receive(3, 9, { type: 'heartbeat-ack', round: 0 }, 520);
    expect(lone.node.status()).toMatchObject({ role: 'follower', term: 9, leader: undefined });
    expect(lone.settle().readys.flatMap((r) => r.readStates)).toEqual([{ context: 5, refused: 'lost' }]);
  });

  it('hands over after three slow log writes in a minute', () => {
    const lone = new Lone().lead(500, [2]);
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: 0 }, 510).settle();
    lone.node.logWriteTook(301, 520);
    lone.node.logWriteTook(10, 521);
    lone.node.logWriteTook(400, 530);
    expect(lone.settle().messages.filter((m) => m.type === 'timeout-now')).toEqual([]);
    lone.node.logWriteTook(400, 540);
    expect(lone.settle().messages.filter((m) => m.type === 'timeout-now')).toMatchObject([{ to: 2 }]);
  });

  it('asserts that there is one leader in a term', () => {
    const lone = new Lone().lead(500, [2]);
    expect(() => lone.receive(3, 1, heartbeat, 510)).toThrow('one leader in a term');
  });
});
