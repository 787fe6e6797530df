/** Rules of raft-ts, of the log and of its host, each broken in one way that somebody might break it in. The simulator must find every one. */
import { rules, type Message } from '#raft-ts';
import type { Fault, Mutation, Plan } from '#testkit/simulator';
import { hasty } from './hasty-disk.js';

const without =
  (...types: readonly Message['type'][]) =>
  (type: Message['type']): boolean =>
    !types.includes(type) && rules.waitsForDisk(type);

/** Second copies of whole snapshots come late, when the log has gone on and begins behind them. */
const lateCopies: Partial<Plan> = {
  snapshotBytes: 0,
  chunkBytes: 4_000,
  compactEntries: 8,
  network: { delayMs: 0.5, jitterMs: 2, lossPercent: 1, doublePercent: 40, doubleLateMs: 2_000, reorderPercent: 0 },
};

/** Answers come to the leader long after they were given, and it reaches nobody: what it counts its lease from decides. */
const lateAnswers: Partial<Plan> = {
  leases: true,
  members: 3,
  learners: 0,
  durationMs: 6_000,
  faults: [800, 2_800, 4_800].flatMap((atMs): Fault[] => [
    { atMs, target: 'leader', kind: 'slow-link', forMs: 150, delayMs: 500, way: 'in', others: 255 },
    { atMs: atMs + 110, target: 'leader', kind: 'cut', forMs: 1_400, way: 'out', others: 255 },
  ]),
};

export const raftMutations: Readonly<Record<string, Mutation>> = {
  'vote without persisting': { raft: { waitsForDisk: without('vote-answer') } },
  'vote twice in a term': { raft: { mayVoteFor: () => true } },
  'keep the vote over a change of term': { raft: { voteInNewTerm: (vote) => vote } },
  'vote for a shorter log': { raft: { isUpToDate: () => true } },
  'vote inside a promise': { raft: { promiseAllowsVote: () => true } },
  'vote at once after a restart': { raft: { promiseAtStart: (startMs) => startMs } },
  'campaign inside the own promise': { raft: { promiseAllowsCampaign: () => true } },
  "commit an old term's entry by count": { raft: { commitsByCount: () => true } },
  'count a learner': { raft: { majorities: (c) => rules.majorities({ ...c, voters: [...c.voters, ...c.learners, ...c.spares] }) } },
  'forget the joint quorum': { raft: { majorities: (c) => [c.voters] } },
  'acknowledge before the disk has it': { raft: { waitsForDisk: without('append-ack') } },
  'the leader counts itself before its disk has it': { raft: { ownMatch: (_durable, last) => last } },
  'apply before the own disk has it': { raft: { deliverableIndex: (commit) => commit } },
  'accept an append below the commit index': { raft: { isOldNews: () => false, firstNew: () => 0 } },
  'cut the log at every append': { raft: { firstNew: () => 0 } },
  'install a snapshot over a newer log': { raft: { snapshotReplacesLog: () => true }, focus: lateCopies },
  'accept an old nonce': { raft: { bootFits: () => true, logFits: () => true } },
  'a read skips the round': { raft: { readNeedsRound: () => false } },
  'a read joins a round that was sent': { raft: { readMayJoin: () => true } },
  'a read before an entry of the own term is committed': { raft: { knowsCommit: () => true } },
  'the lease begins at receipt': { raft: { leaseBegins: (_sentMs, receivedMs) => receivedMs }, focus: lateAnswers },
  'the lease is measured by ticks': { raft: { leaseClock: (_nowMs, lastTickMs) => lastTickMs, clockIsSteady: () => true }, focus: { leases: true } },
  'the lease outlives a jump of the clock': { raft: { clockIsSteady: () => true }, focus: { leases: true } },
  'the lease outlives TimeoutNow': { raft: { leaseAfterTimeoutNow: () => true }, focus: { leases: true } },

  'a sync that does not wait': { disk: hasty },
  'apply a torn tail': { log: { recordCounts: () => true } },
  'treat damage as a tail': { log: { isDamage: () => false } },

  'snapshot with the appended configuration': { host: { snapshotConfiguration: (_applied, inForce) => inForce } },
  'compact by the applied index': { host: { compactUpTo: (_durable, applied) => applied } },
  'drop the log before the snapshot is durable': { host: { syncsSnapshots: false }, focus: { installMs: 300, compactEntries: 8, rareCrash: 0.4 } },
  'forget an acknowledged entry at restart': { host: { forgetsLastEntry: true } },
  'answer a refusal before it is proven': { host: { refusalNeedsRound: false } },
  'do a repeated request twice': { host: { forgetsRequests: true } },
  'settle a waiter by index': { host: { settlesByIndex: true } },
};
