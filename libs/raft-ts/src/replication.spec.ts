import { describe, expect, it } from 'vitest';
import { noConfiguration, type Message, type RaftOptions, type Configuration } from './index.js';
import { Lone, bytes, entry } from './testing/lone.js';

type Of<T extends Message['type']> = Extract<Message, { type: T }>;
const only = <T extends Message['type']>(messages: readonly Message[], type: T, to?: number): Of<T>[] =>
  messages.filter((m): m is Of<T> => m.type === type && (to === undefined || m.to === to));
const nothing = new Uint8Array(0);

/** A leader in term 1 whose noop 2 and 3 have. */
function leader(options: Partial<RaftOptions> & { configuration?: Configuration } = {}): Lone {
  const lone = new Lone(options).lead(500, [2, 3]);
  for (const id of [2, 3]) lone.receive(id, 1, { type: 'append-ack', index: 1, round: 0 }, 500);
  lone.settle();
  return lone;
}

describe('replication by a leader', () => {
  it('sends before its own disk has written, all proposals of a turn in one message', () => {
    const lone = leader();
    lone.propose('a');
    lone.propose('b');
    const ready = lone.take();
    expect(only(ready.messagesNow, 'append', 2).map((m) => m.entries.length)).toEqual([2]);
    expect(ready.messagesAfterPersist).toEqual([]);
  });

  it('does not wait for answers, until too much is under way', () => {
    const lone = leader({ limits: { inflightBytes: 300, appendBytes: 100 } });
    for (let i = 0; i < 10; i++) lone.propose('x'.repeat(50));
    const sent = only(lone.settle().messages, 'append', 2);
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.length).toBeLessThan(10);
    const upTo = sent.at(-1)!.entries.at(-1)!.index;
    lone.receive(2, 1, { type: 'append-ack', index: upTo, round: 0 }, 510);
    expect(only(lone.settle().messages, 'append', 2)[0]!.previous.index).toBe(upTo);
  });

  it('commits what a majority has, and tells at once', () => {
    const lone = leader();
    lone.propose('a');
    lone.settle();
    const { messages, committed } = lone.receive(2, 1, { type: 'append-ack', index: 2, round: 0 }, 510).settle();
    expect(committed.map((e) => e.index)).toEqual([2]);
    expect(only(messages, 'append').map((m) => [m.to, m.commit])).toEqual([
      [2, 2],
      [3, 2],
    ]);
  });

  it('tells a spare at its next heartbeat, or at once where somebody waits', () => {
    const lone = leader({ configuration: { ...noConfiguration, voters: [1, 2, 3], spares: [4, 5] } });
    for (const id of [4, 5]) lone.receive(id, 1, { type: 'append-ack', index: 1, round: 0 }, 500);
    lone.settle();
    lone.propose('a');
    lone.node.expectCommit(4, 2);
    lone.settle();
    const { messages } = lone.receive(2, 1, { type: 'append-ack', index: 2, round: 0 }, 510).settle();
    expect(only(messages, 'append').map((m) => m.to)).toEqual([2, 3, 4]);
  });

  it('sends heartbeats to members every 100 ms and to spares every second', () => {
    const lone = leader({ configuration: { ...noConfiguration, voters: [1, 2, 3], learners: [4], spares: [5] } });
    const counts = new Map<number, number>();
    for (let now = 550; now <= 3_500; now += 50) {
      lone.node.tick(now);
      lone.receive(2, 1, { type: 'heartbeat-ack', round: 0 }, now);
      for (const m of only(lone.settle().messages, 'heartbeat')) counts.set(m.to, (counts.get(m.to) ?? 0) + 1);
    }
    expect(counts.get(2)).toBe(30);
    expect(counts.get(4)).toBe(30);
    expect(counts.get(5)).toBe(3);
  });

  it('probes one message at a time until it knows where the logs agree', () => {
    const lone = new Lone({ log: [entry(1, 1), entry(2, 1)] }).lead(500, [2, 3]);
    lone.propose('a');
    expect(only(lone.settle().messages, 'append', 2)).toEqual([]);
    lone.receive(2, 2, { type: 'append-refused', index: 2, hint: { index: 0, term: 0 }, round: 0 }, 510);
    expect(only(lone.settle().messages, 'append', 2)).toMatchObject([{ previous: { index: 0 } }]);
    // The same refusal, doubled, is about a question that was asked before.
    lone.receive(2, 2, { type: 'append-refused', index: 2, hint: { index: 0, term: 0 }, round: 0 }, 510);
    expect(only(lone.settle().messages, 'append', 2)).toEqual([]);
    lone.receive(2, 2, { type: 'append-ack', index: 2, round: 0 }, 520);
    expect(only(lone.settle().messages, 'append', 2)).toMatchObject([{ previous: { index: 2 }, entries: [{ index: 3 }, { index: 4 }] }]);
  });

  it('backs up over a whole term at a time', () => {
    const log = [1, 1, 1, 3, 3, 3, 3].map((term, i) => entry(i + 1, term, 'x'));
    const lone = new Lone({ log }).lead(500, [2, 3]);
    // The follower has 1 1 1 2 2 2 2: its last entry not above term 3 is at 7, in term 2, which this log never had.
    lone.receive(2, 4, { type: 'append-refused', index: 7, hint: { index: 7, term: 2 }, round: 0 }, 510);
    const [probe] = only(lone.settle().messages, 'append', 2);
    expect(probe).toMatchObject({ previous: { index: 3, term: 1 } });
    expect(probe!.entries.map((e) => e.index)).toEqual([4, 5, 6, 7]);
  });

  it('ignores a refusal that is older than what was acknowledged', () => {
    const lone = leader();
    lone.receive(2, 1, { type: 'append-refused', index: 1, hint: { index: 0, term: 0 }, round: 0 }, 510).settle();
    expect(lone.node.status().peers[0]).toMatchObject({ id: 2, state: 'replicating', match: 1 });
  });

  it('ignores an acknowledgement of what it never had', () => {
    const lone = leader();
    lone.receive(2, 1, { type: 'append-ack', index: 99, round: 0 }, 510).settle();
    expect(lone.node.status()).toMatchObject({ commit: 1 });
  });

  it('sends again what was lost, small first', () => {
    const lone = leader();
    lone.propose('a');
    lone.settle();
    const again: Of<'append'>[] = [];
    for (let now = 550; now <= 1_400; now += 50) {
      lone.node.tick(now);
      lone.receive(3, 1, { type: 'heartbeat-ack', round: 0 }, now);
      again.push(...only(lone.settle().messages, 'append', 2));
    }
    expect(again.map((m) => m.entries.length)).toEqual([1, 0]);
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: 0 }, 1_410);
    expect(only(lone.settle().messages, 'append', 2).map((m) => m.entries.length)).toEqual([1]);
  });

  it('tries at once when a peer that was silent answers a heartbeat', () => {
    const lone = leader();
    lone.node.peerUnreachable(2, 510);
    lone.propose('a');
    lone.settle();
    lone.node.tick(600);
    lone.settle();
    lone.receive(2, 1, { type: 'heartbeat-ack', round: 1 }, 650);
    expect(only(lone.settle().messages, 'append', 2)).toHaveLength(1);
  });

  it('refuses proposals when too much is uncommitted, and takes them again later', () => {
    const lone = leader({ limits: { uncommittedBytes: 10 } });
    lone.propose('0123456789');
    expect(lone.node.propose(bytes('x'), lone.node.nextPlace()!)).toEqual({ refused: 'full' });
    lone.settle();
    lone.receive(2, 1, { type: 'append-ack', index: 2, round: 0 }, 510).settle();
    expect(lone.node.propose(bytes('x'), lone.node.nextPlace()!)).toBe('ok');
  });

  it('goes on from what a peer still has when that has started again', () => {
    const lone = leader();
    lone.propose('a');
    lone.settle();
    lone.peerBoot.set(2, 'second');
    lone.receive(2, 0, { type: 'hello', boots: ['boot of 2', 'second'], last: { index: 1, term: 1 } }, 520);
    expect(only(lone.settle().messages, 'append', 2)).toMatchObject([{ previous: { index: 1 }, entries: [{ index: 2 }] }]);
  });
});

describe('a change of configuration', () => {
  it('is in force at once, carries the data of the host, and waits for the one before', () => {
    const lone = leader();
    const change = { members: [{ id: 4, role: 'learner' as const }] };
    expect(lone.node.proposeConfiguration(change, bytes('rows'), lone.node.nextPlace()!)).toBe('ok');
    expect(lone.node.status().configuration.learners).toEqual([4]);
    const { messages } = lone.settle();
    expect(only(messages, 'append', 2)[0]!.entries[0]).toMatchObject({
      type: 'configuration',
      data: bytes('rows'),
      configuration: { learners: [4] },
    });
    expect(only(messages, 'append', 4)).toHaveLength(1);
    expect(lone.node.proposeConfiguration({ members: [{ id: 5, role: 'learner' }] }, nothing, lone.node.nextPlace()!)).toEqual({
      refused: 'pending',
    });
  });

  it('waits for an entry of the own term to be committed', () => {
    const lone = new Lone().lead(500, [2]);
    expect(lone.node.proposeConfiguration({ members: [{ id: 4, role: 'learner' }] }, nothing, lone.node.nextPlace()!)).toEqual({
      refused: 'pending',
    });
  });

  it('says when a joint configuration is to be left, and until it is', () => {
    const lone = leader();
    lone.node.proposeConfiguration({ members: [{ id: 4, role: 'voter' }], joint: true }, nothing, lone.node.nextPlace()!);
    expect(lone.settle().readys.some((r) => r.leaveJointDue)).toBe(false);
    for (const id of [2, 3]) lone.receive(id, 1, { type: 'append-ack', index: 2, round: 0 }, 510);
    lone.settle();
    lone.receive(4, 1, { type: 'append-ack', index: 2, round: 0 }, 510);
    expect(lone.settle().readys.at(-1)!.leaveJointDue).toBe(true);
    expect(lone.node.proposeConfiguration({ leaveJoint: true }, nothing, lone.node.nextPlace()!)).toBe('ok');
    expect(lone.settle().readys.at(-1)!.leaveJointDue).toBe(false);
  });

  it('begins anew with a member that comes back under another incarnation', () => {
    const lone = leader({ configuration: { ...noConfiguration, voters: [1, 2, 3], learners: [4] } });
    lone.receive(4, 1, { type: 'append-ack', index: 1, round: 0 }, 500).settle();
    expect(lone.node.status().peers.at(-1)).toMatchObject({ id: 4, match: 1 });
    lone.node.proposeConfiguration({ members: [{ id: 4, role: 'learner', incarnation: 1 }] }, nothing, lone.node.nextPlace()!);
    expect(lone.node.status().peers.at(-1)).toMatchObject({ id: 4, match: 0 });
    // What is still on its way from the old one does not count.
    lone.receive(4, 1, { type: 'append-ack', index: 2, round: 0 }, 510).settle();
    expect(lone.node.status().peers.at(-1)).toMatchObject({ id: 4, match: 0 });
  });

  it('finds those that are in the log and not applied yet when it starts', () => {
    const configuration = { ...noConfiguration, voters: [1, 2, 3, 4] };
    const lone = new Lone({ log: [entry(1, 1), { ...entry(2, 1), type: 'configuration', configuration }] });
    expect(lone.node.status().configuration).toEqual(configuration);
    lone.receive(2, 2, { type: 'append', previous: { index: 1, term: 1 }, entries: [entry(2, 2)], commit: 1, round: 0 }, 600);
    expect(lone.node.status().configuration.voters).toEqual([1, 2, 3]);
  });
});

describe('a follower', () => {
  it('takes Readys while earlier ones are being written, and counts nothing before it is', () => {
    const lone = new Lone();
    const append = (index: number) =>
      ({
        type: 'append',
        previous: { index: index - 1, term: index === 1 ? 0 : 1 },
        entries: [entry(index, 1, 'x')],
        commit: index,
        round: 1,
      }) as const;
    lone.receive(2, 1, append(1), 100);
    const first = lone.take();
    lone.receive(2, 1, append(2), 110);
    const second = lone.take();
    expect([first, second].map((r) => r.committed.length)).toEqual([0, 0]);
    expect(second.entries.map((e) => e.index)).toEqual([2]);
    lone.storage.append(first.entries);
    lone.node.persisted(first.upTo);
    expect(lone.node.ready().committed.map((e) => e.index)).toEqual([1]);
  });

  it('says where its log ends, in a term not above the one that was asked for', () => {
    const lone = new Lone({ log: [1, 1, 4, 4].map((term, i) => entry(i + 1, term)) });
    const asked = (index: number, term: number) =>
      lone.receive(2, 9, { type: 'append', previous: { index, term }, entries: [], commit: 0, round: 3 }, 100).settle().messages.at(-1);
    expect(asked(9, 7)).toMatchObject({ type: 'append-refused', index: 9, hint: { index: 4, term: 4 }, round: 3 });
    expect(asked(4, 3)).toMatchObject({ type: 'append-refused', index: 4, hint: { index: 2, term: 1 } });
  });

  it('commits no further than it knows to agree', () => {
    const lone = new Lone({ log: [entry(1, 1), entry(2, 1)] });
    lone.receive(2, 2, { type: 'append', previous: { index: 1, term: 1 }, entries: [], commit: 9, round: 0 }, 100).settle();
    expect(lone.node.status().commit).toBe(1);
  });

  it('hands out what is committed in bites', () => {
    const lone = new Lone({ limits: { committedBytes: 300 } });
    const entries = Array.from({ length: 10 }, (_, i) => entry(i + 1, 1, 'x'.repeat(100)));
    lone.receive(2, 1, { type: 'append', previous: { index: 0, term: 0 }, entries, commit: 10, round: 0 }, 100);
    const { readys, committed } = lone.settle();
    expect(committed.map((e) => e.index)).toEqual(entries.map((e) => e.index));
    expect(Math.max(...readys.map((r) => r.committed.length))).toBeLessThan(4);
  });

  it('does not write for the commit index alone', () => {
    const lone = new Lone();
    lone.receive(2, 1, { type: 'append', previous: { index: 0, term: 0 }, entries: [entry(1, 1)], commit: 0, round: 0 }, 100).settle();
    const { readys } = lone.receive(2, 1, { type: 'heartbeat', commit: 1, round: 1 }, 110).settle();
    expect(readys.map((r) => r.mustPersist)).not.toContain(true);
    expect(lone.node.status().commit).toBe(1);
  });

  it('is never applied beyond what was handed out', () => {
    expect(() => new Lone().node.applied(1)).toThrow('only what was handed out');
    expect(() => new Lone({ applied: { index: 3, configuration: noConfiguration } })).toThrow('never ahead of its log');
  });
});
