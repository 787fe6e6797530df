/** Broken rules, one each, to prove that whoever watches notices. */
import { rules, type Rules } from '../index.js';

export const mutations: Readonly<Record<string, Partial<Rules>>> = {
  'vote without persisting': { waitsForDisk: (type) => type !== 'vote-answer' && rules.waitsForDisk(type) },
  'acknowledge before the disk has it': { waitsForDisk: (type) => type !== 'append-ack' && rules.waitsForDisk(type) },
  'the leader counts itself before its disk has it': { ownMatch: (_durable, last) => last },
  'apply before the own disk has it': { deliverableIndex: (commit) => commit },
  'vote twice in a term': { mayVoteFor: () => true },
  'keep the vote over a change of term': { voteInNewTerm: (vote) => vote },
  'vote for a shorter log': { isUpToDate: () => true },
  "commit an old term's entry by count": { commitsByCount: () => true },
  'count a learner': { majorities: (c) => rules.majorities({ ...c, voters: [...c.voters, ...c.learners, ...c.spares] }) },
  'forget the joint quorum': { majorities: (c) => [c.voters] },
  'accept an append below the commit index': { isOldNews: () => false, firstNew: () => 0 },
  'cut the log at every append': { firstNew: () => 0 },
  'install a snapshot over a newer log': { snapshotReplacesLog: () => true },
  'accept an old nonce': { bootFits: () => true, logFits: () => true },
  'a read skips the round': { readNeedsRound: () => false },
  'a read joins a round that was sent': { readMayJoin: () => true },
  'a read before an entry of the own term is committed': { knowsCommit: () => true },
  'the lease begins at receipt': { leaseBegins: (_sent, received) => received },
  'the lease is compared with the last tick': { leaseClock: (_now, lastTick) => lastTick, clockIsSteady: () => true },
  'the lease outlives TimeoutNow': { leaseAfterTimeoutNow: () => true },
  'the lease outlives a jump of the clock': { clockIsSteady: () => true },
  'vote at once after a restart': { promiseAtStart: (start) => start },
  'vote inside a promise': { promiseAllowsVote: () => true },
  'campaign inside the own promise': { promiseAllowsCampaign: () => true },
};
