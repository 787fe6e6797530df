import { describe, expect, it } from 'vitest';
import { noConfiguration, type Message, type RaftOptions, type ReadState } from './index.js';
import { Lone, entry } from './testing/lone.js';

const rounds = (messages: readonly Message[]): number[] => [...new Set(messages.flatMap((m) => (m.type === 'heartbeat' ? [m.round] : [])))];
const states = (lone: Lone): ReadState[] => lone.settle().readys.flatMap((r) => r.readStates);

function leader(options: Partial<RaftOptions> = {}): Lone {
  const lone = new Lone(options).lead(500, [2, 3]);
  lone.receive(2, 1, { type: 'append-ack', index: 1, round: 0 }, 500).settle();
  return lone;
}

describe('a read at the leader', () => {
  it('shares one round with all that wait, and is answered by a majority', () => {
    const lone = leader();
    for (const context of [1, 2, 3]) lone.node.readIndex(context, 510);
    const sent = rounds(lone.settle().messages);
    expect(sent).toHaveLength(1);
    lone.receive(3, 1, { type: 'heartbeat-ack', round: sent[0]! }, 520);
    expect(states(lone)).toEqual([1, 2, 3].map((context) => ({ context, index: 1 })));
  });

  it('is answered by any later round too, an append included', () => {
    const lone = leader();
    lone.node.readIndex(1, 510);
    lone.settle();
    lone.node.readIndex(2, 520);
    const [second] = rounds(lone.settle().messages);
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: second! }, 530);
    expect(states(lone)).toHaveLength(2);
  });

  it('waits for the first entry of the term', () => {
    const lone = new Lone().lead(500, [2]);
    lone.node.readIndex(1, 510);
    expect(rounds(lone.settle().messages)).toEqual([]);
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: 0 }, 520);
    const [round] = rounds(lone.settle().messages);
    lone.receive(2, 1, { type: 'heartbeat-ack', round: round! }, 530);
    expect(states(lone)).toEqual([{ context: 1, index: 1 }]);
  });

  it('needs both majorities while joint', () => {
    const lone = new Lone({ configuration: { ...noConfiguration, voters: [1, 4], outgoing: [1, 2, 3] } }).lead(500, [2, 3, 4]);
    for (const id of [2, 4]) lone.receive(id, 1, { type: 'append-ack', index: 1, round: 0 }, 500);
    lone.settle();
    lone.node.readIndex(1, 510);
    const [round] = rounds(lone.settle().messages);
    lone.receive(2, 1, { type: 'heartbeat-ack', round: round! }, 520);
    expect(states(lone)).toEqual([]);
    lone.receive(4, 1, { type: 'heartbeat-ack', round: round! }, 520);
    expect(states(lone)).toHaveLength(1);
  });

  it('answers a follower with the count that it gave, for the start that asked', () => {
    const lone = leader();
    lone.receive(2, 1, { type: 'read-index', id: 4 }, 510);
    const [round] = rounds(lone.settle().messages);
    const { messages } = lone.receive(3, 1, { type: 'heartbeat-ack', round: round! }, 520).settle();
    expect(messages.filter((m) => m.type === 'read-index-answer')).toMatchObject([{ to: 2, id: 4, askerBoot: 'boot of 2', index: 1 }]);
  });
});

describe('a lease', () => {
  function leased(): Lone {
    const lone = leader({ leases: true });
    lone.node.tick(550, 1_000);
    const [round] = rounds(lone.settle().messages);
    lone.receive(2, 1, { type: 'heartbeat-ack', round: round! }, 560).settle();
    return lone;
  }
  const atOnce = (lone: Lone, nowMs: number): boolean => {
    lone.node.readIndex(9, nowMs);
    return states(lone).length > 0;
  };

  it('answers at once, for 400 ms from the sending', () => {
    const lone = leased();
    expect(lone.node.status().leaseUntilMs).toBe(950);
    expect(atOnce(lone, 600)).toBe(true);
    for (const [now, real] of [
      [650, 1_100],
      [750, 1_200],
      [850, 1_300],
      [940, 1_390],
    ] as const) {
      lone.node.tick(now, real);
      lone.settle();
    }
    expect(atOnce(lone, 949)).toBe(true);
    expect(atOnce(lone, 950)).toBe(false);
  });

  it('is dropped by a pause between ticks, and what was sent before brings no other', () => {
    const lone = leased();
    lone.node.tick(600, 1_050);
    const [before] = rounds(lone.settle().messages);
    expect(before).toBeUndefined();
    lone.node.tick(650, 1_100);
    const [sent] = rounds(lone.settle().messages);
    lone.node.tick(810, 1_260);
    lone.receive(2, 1, { type: 'heartbeat-ack', round: sent! }, 811).settle();
    expect(atOnce(lone, 812)).toBe(false);
  });

  it('is dropped when the wall clock and the monotonic one part', () => {
    const lone = leased();
    lone.node.tick(600, 1_200);
    lone.settle();
    expect(atOnce(lone, 610)).toBe(false);
  });

  it('is not used by a host that did not ask for it', () => {
    const lone = leader();
    lone.node.tick(550);
    const [round] = rounds(lone.settle().messages);
    lone.receive(2, 1, { type: 'heartbeat-ack', round: round! }, 560).settle();
    expect(atOnce(lone, 570)).toBe(false);
  });
});

describe('a read at a follower', () => {
  const heartbeat = { type: 'heartbeat', commit: 0, round: 1 } as const;
  const asked = (messages: readonly Message[]) => messages.flatMap((m) => (m.type === 'read-index' ? [m] : []));

  it('asks the leader once for all that wait', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 100).settle();
    lone.node.readIndex(1, 110);
    lone.node.readIndex(2, 110);
    const [question] = asked(lone.settle().messages);
    expect(question).toMatchObject({ to: 2, id: 1 });
    lone.receive(2, 1, { type: 'read-index-answer', id: 1, askerBoot: 'boot-1', index: 7 }, 120);
    expect(states(lone)).toEqual([
      { context: 1, index: 7 },
      { context: 2, index: 7 },
    ]);
    // And no second answer.
    lone.receive(2, 1, { type: 'read-index-answer', id: 1, askerBoot: 'boot-1', index: 8 }, 130);
    expect(states(lone)).toEqual([]);
  });

  it('does not take the answer to a question of its earlier start', () => {
    const lone = new Lone();
    lone.restart(50);
    lone.receive(2, 1, heartbeat, 100).settle();
    lone.node.readIndex(1, 110);
    lone.settle();
    lone.receive(2, 1, { type: 'read-index-answer', id: 1, askerBoot: 'boot-1', index: 7 }, 120);
    expect(states(lone)).toEqual([]);
  });

  it('asks again, and gives up after a second', () => {
    const lone = new Lone();
    lone.receive(2, 1, heartbeat, 100).settle();
    lone.node.readIndex(1, 100);
    const questions = asked(lone.settle().messages);
    const found: ReadState[] = [];
    for (let now = 150; now <= 1_100; now += 50) {
      lone.receive(2, 1, heartbeat, now);
      lone.node.tick(now);
      const { messages, readys } = lone.settle();
      questions.push(...asked(messages));
      found.push(...readys.flatMap((r) => r.readStates));
    }
    expect(questions.map((m) => m.id)).toEqual([1, 1, 1, 1]);
    expect(found).toEqual([{ context: 1, refused: 'lost' }]);
  });

  it('is refused when the leader changes, or when there is none', () => {
    const lone = new Lone();
    lone.node.readIndex(1, 50);
    expect(states(lone)).toEqual([{ context: 1, refused: 'no-leader' }]);
    lone.receive(2, 1, heartbeat, 100).settle();
    lone.node.readIndex(2, 110);
    lone.settle();
    lone.receive(3, 2, heartbeat, 700);
    expect(states(lone)).toEqual([{ context: 2, refused: 'lost' }]);
  });

  it('learns the commit index that it waits for, spare or not', () => {
    const lone = new Lone({ configuration: { ...noConfiguration, voters: [1], spares: [4] }, log: [entry(1, 1)] });
    lone.settle();
    lone.receive(4, 2, { type: 'append-ack', index: 2, round: 0 }, 10).settle();
    lone.propose('x');
    lone.settle();
    lone.receive(4, 2, { type: 'read-index', id: 1 }, 20);
    const { messages } = lone.settle();
    expect(messages.map((m) => m.type)).toEqual(['read-index-answer', 'append']);
    expect(messages[1]).toMatchObject({ to: 4, commit: 3 });
  });
});
