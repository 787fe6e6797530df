/** Every rule is broken once; each witness tells an honest node from a mutant by what a user would lose. */
import { describe, expect, it } from 'vitest';
import { noConfiguration, type Configuration, type Message, type RaftOptions, type Rules, type SnapshotMeta } from './index.js';
import { Cluster } from './testing/cluster.js';
import { Lone, entry } from './testing/lone.js';
import { mutations } from './testing/mutations.js';

/** True if something went wrong. */
type Witness = (rules: Partial<Rules>) => boolean;

const granted = (messages: readonly Message[]): boolean => messages.some((m) => m.type === 'vote-answer' && m.granted);
const vote = { type: 'vote', last: { term: 9, index: 99 }, transfer: false } as const;
const append = (previous: number, term: number, entries: ReturnType<typeof entry>[], commit = 0) =>
  ({ type: 'append', previous: { index: previous, term: previous === 0 ? 0 : term }, entries, commit, round: 1 }) as const;

/** A leader in term 1 at 500 ms, its noop acknowledged by 2. */
function leader(options: Partial<RaftOptions> & { configuration?: Configuration; log?: ReturnType<typeof entry>[] } = {}): Lone {
  const lone = new Lone(options).lead(500, [2, 3, 4, 5]);
  lone.receive(2, lone.node.status().term, { type: 'append-ack', index: lone.last, round: 0 }, 500);
  lone.settle();
  return lone;
}

/** Three members of which 1 leads and is cut off, while 2 leads anew and commits something: whether 1 answers a read without it. */
function staleRead(rules: Partial<Rules>): boolean {
  const cluster = new Cluster([1, 2, 3], { ...noConfiguration, voters: [1, 2, 3] }, { raft: { rules, timers: { quorumMs: 5_000 } } });
  cluster.run(700);
  for (const link of ['1>2', '1>3', '2>1', '3>1']) cluster.cut.add(link);
  cluster.run(1_500);
  cluster.member(2).propose('new');
  cluster.settle();
  cluster.member(1).node!.readIndex(1, cluster.nowMs);
  cluster.settle();
  return cluster.member(1).reads.some((read) => read.index !== undefined && !read.valuesSeen!.includes('new'));
}

/** A leader with a lease whose last round was sent at `sentMs` and answered at `answeredMs`. */
function leased(rules: Partial<Rules>, answeredMs = 550): Lone {
  const lone = leader({ rules, leases: true });
  lone.node.tick(550);
  const round = roundOf(lone.settle().messages);
  for (let at = 600; at < answeredMs; at += 50) {
    lone.node.tick(at);
    lone.settle();
  }
  lone.receive(2, 1, { type: 'heartbeat-ack', round }, answeredMs);
  lone.settle();
  return lone;
}

const roundOf = (messages: readonly Message[]): number => Math.max(0, ...messages.map((m) => (m.type === 'heartbeat' ? m.round : 0)));

function answersAtOnce(lone: Lone, nowMs: number): boolean {
  lone.node.readIndex(77, nowMs);
  return lone.settle().readys.some((ready) => ready.readStates.some((state) => state.context === 77));
}

const witnesses: Record<string, Witness> = {
  'vote without persisting': (rules) => {
    const lone = new Lone({ rules });
    const first = lone.receive(2, 1, vote, 600).take();
    lone.restart(700);
    const second = lone.receive(3, 1, vote, 1_300).take();
    return granted(first.messagesNow) && granted([...second.messagesNow, ...second.messagesAfterPersist]);
  },
  'acknowledge before the disk has it': (rules) => {
    const lone = new Lone({ rules });
    const { messagesNow } = lone.receive(2, 1, append(0, 0, [entry(1, 1, 'x')]), 100).take();
    lone.restart(200);
    return messagesNow.some((m) => m.type === 'append-ack' && m.index === 1) && lone.last === 0;
  },
  'the leader counts itself before its disk has it': (rules) => {
    const lone = leader({ rules });
    lone.propose('x');
    lone.take();
    lone.receive(2, 1, { type: 'append-ack', index: 2, round: 1 }, 510);
    return lone.node.status().commit === 2;
  },
  'apply before the own disk has it': (rules) =>
    new Lone({ rules }).receive(2, 1, append(0, 0, [entry(1, 1, 'x')], 1), 100).take().committed.length > 0,
  'vote twice in a term': (rules) => {
    const lone = new Lone({ rules });
    return granted(lone.receive(2, 1, vote, 600).settle().messages) && granted(lone.receive(3, 1, vote, 600).settle().messages);
  },
  'keep the vote over a change of term': (rules) => {
    const lone = new Lone({ rules });
    lone.receive(2, 1, vote, 600).settle();
    return !granted(lone.receive(3, 2, vote, 600).settle().messages);
  },
  'vote for a shorter log': (rules) =>
    granted(new Lone({ rules, log: [entry(1, 1), entry(2, 1, 'x')] }).receive(2, 2, { ...vote, last: { term: 1, index: 1 } }, 600).settle().messages),
  // Figure 8 of the paper: an old entry on a majority can still be overwritten.
  "commit an old term's entry by count": (rules) => {
    const lone = new Lone({ rules, log: [entry(1, 1), entry(2, 2, 'x')] }).lead(500);
    lone.receive(2, 3, { type: 'append-ack', index: 2, round: 1 }, 510).settle();
    return lone.node.status().commit === 2;
  },
  'count a learner': (rules) => {
    const lone = leader({ rules, configuration: { ...noConfiguration, voters: [1, 2, 3], learners: [4, 5] } });
    lone.propose('x');
    lone.settle();
    for (const id of [4, 5]) lone.receive(id, 1, { type: 'append-ack', index: 2, round: 1 }, 510).settle();
    return lone.node.status().commit === 2;
  },
  'forget the joint quorum': (rules) => {
    const lone = leader({ rules, configuration: { ...noConfiguration, voters: [1, 2, 3], outgoing: [1, 4, 5] } });
    lone.receive(2, 1, { type: 'append-ack', index: 1, round: 1 }, 510).settle();
    return lone.node.status().commit === 1;
  },
  'accept an append below the commit index': (rules) => {
    const lone = new Lone({ rules });
    lone.receive(2, 1, append(0, 0, [entry(1, 1), entry(2, 1, 'x')], 2), 100).settle();
    try {
      lone.receive(2, 1, append(0, 0, [entry(1, 1)], 1), 110).settle();
      return lone.last < 2;
    } catch {
      return true;
    }
  },
  'cut the log at every append': (rules) => {
    const lone = new Lone({ rules });
    lone.receive(2, 1, append(0, 0, [entry(1, 1), entry(2, 1, 'x')]), 100).settle();
    // An earlier one, late: what was acknowledged is gone.
    lone.receive(2, 1, append(0, 0, [entry(1, 1)]), 110).settle();
    return lone.last < 2;
  },
  'install a snapshot over a newer log': (rules) => {
    const lone = new Lone({ rules, base: { index: 5, term: 1 }, hardState: { term: 1, commit: 5 } });
    const meta: SnapshotMeta = { index: 3, term: 1, configuration: lone.configuration, sizeBytes: 1, hash: 'h' };
    lone.receive(2, 1, { type: 'snapshot-chunk', meta, offset: 0, data: new Uint8Array(1) }, 100).settle();
    lone.node.snapshotReceived(meta, true);
    return lone.last < 5;
  },
  'accept an old nonce': (rules) => {
    const lone = new Lone({ rules });
    lone.peerBoot.set(2, 'second').set(3, 'x');
    lone.receive(2, 0, { type: 'hello', boots: ['first', 'second'], last: { term: 1, index: 1 } }, 10).settle();
    lone.peerBoot.set(2, 'put back');
    const { readys } = lone.receive(2, 0, { type: 'hello', boots: ['first', 'put back'], last: { term: 0, index: 0 } }, 20).settle();
    return !readys.some((ready) => ready.refusals.some(({ member, reason }) => member === 2 && reason === 'boot'));
  },
  'a read skips the round': (rules) => staleRead(rules),
  'a read joins a round that was sent': (rules) => {
    const lone = leader({ rules });
    lone.node.readIndex(1, 510);
    const round = roundOf(lone.settle().messages);
    // Asked after the sending; 2 may have followed another leader since it answered.
    lone.node.readIndex(2, 600);
    const { readys } = lone.receive(2, 1, { type: 'heartbeat-ack', round }, 610).settle();
    return readys.some((ready) => ready.readStates.some((state) => state.context === 2));
  },
  'a read before an entry of the own term is committed': (rules) => {
    // The entry at 2 may well be committed: 2 led in term 1, and only it knows.
    const lone = new Lone({ rules, log: [entry(1, 1), entry(2, 1, 'x')], hardState: { term: 1, commit: 1 } }).lead(500);
    lone.node.readIndex(1, 510);
    const round = roundOf(lone.settle().messages);
    const { readys } = lone.receive(2, 2, { type: 'heartbeat-ack', round }, 520).settle();
    return readys.some((ready) => ready.readStates.some((state) => 'index' in state && state.index < 2));
  },
  // Sent at 550, answered at 900: the promise of 2 ended at 1,050 at the latest.
  'the lease begins at receipt': (rules) => {
    const lone = leased(rules, 900);
    for (const at of [950, 1_000, 1_050]) {
      lone.node.tick(at);
      lone.settle();
    }
    return answersAtOnce(lone, 1_060);
  },
  'the lease is compared with the last tick': (rules) => answersAtOnce(leased(rules), 2_000),
  'the lease outlives TimeoutNow': (rules) => {
    const lone = leased(rules);
    lone.node.transferLeadership(560, 2);
    return lone.settle().messages.some((m) => m.type === 'timeout-now') && answersAtOnce(lone, 570);
  },
  // The clock stood still while the world went on for ten seconds.
  'the lease outlives a jump of the clock': (rules) => {
    const lone = leased(rules);
    lone.node.tick(600, 600);
    lone.node.tick(650, 10_650);
    lone.settle();
    return answersAtOnce(lone, 660);
  },
  'vote at once after a restart': (rules) => {
    const lone = new Lone({ rules });
    lone.receive(2, 1, append(0, 0, []), 1_000).settle();
    lone.restart(1_010);
    return granted(lone.receive(3, 2, vote, 1_020).settle().messages);
  },
  'vote inside a promise': (rules) => {
    const lone = new Lone({ rules });
    lone.receive(2, 1, append(0, 0, []), 1_000).settle();
    return granted(lone.receive(3, 2, vote, 1_400).settle().messages);
  },
  'campaign inside the own promise': (rules) => {
    const lone = new Lone({ rules, timers: { electionMinMs: 100, electionMaxMs: 150 } });
    lone.receive(2, 1, append(0, 0, []), 1_000).settle();
    lone.node.tick(1_150);
    lone.node.tick(1_200);
    return lone.settle().messages.some((m) => m.type === 'pre-vote');
  },
};

describe('a broken rule is noticed', () => {
  it('has a witness for every mutation, and every rule is broken by some', () => {
    expect(Object.keys(witnesses)).toEqual(Object.keys(mutations));
  });

  for (const [name, witness] of Object.entries(witnesses)) {
    it(name, () => {
      expect(witness({}), 'the honest node').toBe(false);
      expect(witness(mutations[name]!), 'the mutant').toBe(true);
    });
  }
});
