import { describe, expect, it } from 'vitest';
import { noConfiguration, type Message, type Refusal } from './index.js';
import { Lone } from './testing/lone.js';

const none = { term: 0, index: 0 };
const heartbeat = { type: 'heartbeat', commit: 0, round: 1 } as const;
const refusals = (lone: Lone): Refusal[] => lone.settle().readys.flatMap((r) => r.refusals);
const message = (from: number, more: Partial<Message> = {}): Message =>
  ({ cluster: 'c', from, to: 1, incarnation: 0, boot: `boot of ${from}`, term: 1, ...heartbeat, ...more }) as Message;

describe('a start', () => {
  it('is told to every member, with the boots of the disk', () => {
    const lone = new Lone({ configuration: { ...noConfiguration, voters: [1, 2], learners: [3], spares: [4] } });
    lone.boots = ['a', 'b'];
    // The first one was told as it was built; the second tells what the disk remembers by then.
    lone.restart(0);
    lone.receive(2, 0, { type: 'who' }, 10);
    expect(lone.settle().messages).toMatchObject([{ type: 'hello', to: 2, boots: ['a', 'b', 'boot-3'], last: none }]);
  });

  it('is accepted with the last nonce seen among its boots', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 10).settle();
    lone.peerBoot.set(2, 'third');
    const { readys } = lone.receive(2, 1, { type: 'hello', boots: ['boot of 2', 'second', 'third'], last: none }, 20).settle();
    expect(readys.flatMap((r) => r.refusals)).toEqual([]);
    lone.receive(2, 1, heartbeat, 30);
    expect(lone.settle().messages.at(-1)?.type).toBe('heartbeat-ack');
    // What was seen goes to the host with the next thing that is written anyway.
    expect(readys.some((r) => r.mustPersist || r.peerBoots)).toBe(false);
    lone.receive(2, 2, heartbeat, 40);
    expect(lone.settle().readys[0]).toMatchObject({ mustPersist: true, peerBoots: { 2: '0/third' } });
  });

  it('is asked who it is as long as it has not introduced itself, and not too often', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 10).settle();
    lone.peerBoot.set(2, 'second');
    const answers = [20, 30, 40, 300].flatMap((now) =>
      lone
        .receive(2, 1, heartbeat, now)
        .settle()
        .messages.map((m) => m.type),
    );
    expect(answers).toEqual(['who', 'who']);
  });

  it('is refused when its boots lack the last nonce seen, and what it says counts for nothing', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 10).settle();
    lone.peerBoot.set(2, 'copy');
    lone.receive(2, 1, { type: 'hello', boots: ['older', 'copy'], last: none }, 20);
    const { messages, readys } = lone.settle();
    expect(messages).toMatchObject([{ type: 'refused', to: 2, reason: 'boot', refusedBoot: 'copy' }]);
    expect(readys.flatMap((r) => r.refusals)).toEqual([{ by: 1, member: 2, reason: 'boot' }]);
    expect(
      lone
        .receive(2, 5, { type: 'vote', last: { term: 9, index: 9 }, transfer: true }, 900)
        .settle()
        .messages.map((m) => m.type),
    ).toEqual(['who']);
    expect(lone.node.status().term).toBe(1);
  });

  it('is refused by the leader when its log lacks what it acknowledged, again and again, and is not counted for it', () => {
    const lone = new Lone().lead(500, [2, 3]);
    lone.propose('x');
    lone.settle();
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: 0 }, 510).settle();
    for (const now of [520, 2_000]) {
      lone.peerBoot.set(2, `at ${now}`);
      lone.receive(2, 1, { type: 'hello', boots: ['boot of 2', `at ${now}`], last: none }, now);
      expect(refusals(lone)).toEqual([{ by: 1, member: 2, reason: 'log' }]);
    }
    expect(lone.node.status().peers[0]).toMatchObject({ id: 2, match: 0 });
  });
});

describe('a member', () => {
  it.each([
    ['of another cluster', { cluster: 'other' }, 'cluster'],
    ['of an earlier incarnation', { incarnation: 1 }, 'incarnation'],
    ['that was removed', { from: 9 }, 'removed'],
  ])('%s is refused by name, once a second', (_what, more, reason) => {
    const lone = new Lone({ configuration: { ...noConfiguration, voters: [1, 2, 3], incarnations: { 2: 2 }, removed: [9] } });
    lone.node.step(message(2, more as Partial<Message>), 10);
    lone.node.step(message(2, more as Partial<Message>), 20);
    const { readys, messages } = lone.settle();
    expect(readys.flatMap((r) => r.refusals).map((r) => r.reason)).toEqual([reason]);
    expect(messages.map((m) => m.type)).toEqual(['refused', 'refused']);
    lone.node.step(message(2, more as Partial<Message>), 1_010);
    expect(refusals(lone)).toHaveLength(1);
    expect(lone.node.status().term).toBe(0);
  });

  it('of a later incarnation may lead, but is not counted before the configuration tells of it', () => {
    const lone = new Lone().lead(500, [2]);
    lone.node.step(message(3, { type: 'append-ack', index: 1, round: 0, incarnation: 1 } as Partial<Message>), 510);
    lone.settle();
    expect(lone.node.status().commit).toBe(0);
    lone.node.step(message(3, { term: 2, incarnation: 1 }), 520);
    expect(lone.node.status()).toMatchObject({ term: 2, leader: 3 });
  });

  it('does not hear itself, nor what is meant for another', () => {
    const lone = new Lone();
    lone.node.step(message(1), 10);
    lone.node.step(message(2, { to: 3 }), 10);
    expect(lone.settle().messages).toEqual([]);
    expect(lone.node.status().leader).toBeUndefined();
  });

  it('tells its host when it is refused itself, but not for an earlier start', () => {
    const lone = new Lone();
    lone.receive(2, 1, { type: 'refused', reason: 'boot', refusedBoot: 'an earlier one' }, 10);
    expect(refusals(lone)).toEqual([]);
    lone.receive(2, 1, { type: 'refused', reason: 'boot', refusedBoot: 'boot-1' }, 10);
    expect(refusals(lone)).toEqual([{ by: 2, member: 1, reason: 'boot' }]);
  });

  it('remembers whom it knew before its own restart, if its host kept it', () => {
    const lone = new Lone({ peerBoots: { 2: '0/second' } });
    lone.receive(2, 1, heartbeat, 10);
    expect(lone.settle().messages.map((m) => m.type)).toEqual(['who']);
  });

  it('that removed itself leads to the end of its term, and no longer', () => {
    const lone = new Lone();
    const without = { ...noConfiguration, voters: [1, 3], removed: [2] };
    const entry = { index: 1, term: 1, type: 'configuration', data: new Uint8Array(0), configuration: without } as const;
    lone.receive(2, 1, { type: 'append', previous: none, entries: [entry], commit: 1, round: 1 }, 600).settle();
    expect(lone.node.status()).toMatchObject({ applied: 1, configuration: without });
    expect(
      lone
        .receive(2, 1, { type: 'timeout-now' }, 610)
        .settle()
        .messages.map((m) => m.type),
    ).toEqual(['vote']);
    lone.receive(2, 1, heartbeat, 620);
    expect(refusals(lone)).toEqual([{ by: 1, member: 2, reason: 'removed' }]);
  });
});
