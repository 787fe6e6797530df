/**
 * The rules on which safety rests, each a function of plain values, gathered so that they can be read in one sitting, and so that a
 * simulator can break one at a time in a single node (RaftOptions.rules, for tests only) and prove that it notices.
 * "§" is the section of Ongaro's thesis; DESIGN.md tells more about each.
 */
import type { Configuration, Entry, MemberId, MessageType } from './types.js';

const saidByLeaders: ReadonlySet<MessageType> = new Set<MessageType>(['append', 'heartbeat', 'snapshot-chunk', 'timeout-now', 'read-index-answer']);
const saidByAnybody: ReadonlySet<MessageType> = new Set<MessageType>(['hello', 'who', 'refused', 'read-index', 'snapshot-request']);

export const rules = {
  // — Elections —

  /** Votes and acknowledgements speak of state that must outlive a crash (§3.8). A leader's word is about what it made durable earlier (§10.2.1). */
  waitsForDisk: (type: MessageType): boolean => !saidByLeaders.has(type) && !saidByAnybody.has(type),

  /** A new term is entered without a vote given (§3.4). */
  voteInNewTerm: (_voteInOldTerm: MemberId | undefined): MemberId | undefined => undefined,

  /** One vote in a term (§3.4); asking again gives the same answer. */
  mayVoteFor: (candidate: MemberId, vote: MemberId | undefined): boolean => vote === undefined || vote === candidate,

  /** Whoever leads must have every committed entry, so its log may not be older than ours (§3.6.1). */
  isUpToDate: (theirs: { term: number; index: number }, ours: { term: number; index: number }): boolean =>
    theirs.term > ours.term || (theirs.term === ours.term && theirs.index >= ours.index),

  /** Nobody votes within its promise to the last leader (§4.2.3, §6.4.1), unless that leader itself asked for the election (§3.10). */
  promiseAllowsVote: (nowMs: number, promiseUntilMs: number, transfer: boolean): boolean => transfer || nowMs >= promiseUntilMs,

  /** The same for one's own candidature. A sole voter has nobody to break a promise to. */
  promiseAllowsCampaign: (nowMs: number, promiseUntilMs: number, transfer: boolean, soleVoter: boolean): boolean =>
    soleVoter || transfer || nowMs >= promiseUntilMs,

  /** A member that starts does not know whom it promised what before: it promises anew. */
  promiseAtStart: (startMs: number, promiseMs: number): number => startMs + promiseMs,

  // — Quorums —

  /** Each of these groups must agree by majority: one, or two while joint (§4.3). Learners are in none. */
  majorities: (configuration: Configuration): readonly (readonly MemberId[])[] =>
    configuration.outgoing.length === 0 ? [configuration.voters] : [configuration.voters, configuration.outgoing],

  /** A leader counts, of its own log, what its own disk has (§10.2.1). */
  ownMatch: (durableIndex: number, _lastIndex: number): number => durableIndex,

  /** Only an entry of the own term is committed by counting; older ones come with it (§3.6.2). */
  commitsByCount: (entryTerm: number | undefined, ownTerm: number): boolean => entryTerm === ownTerm,

  /** Entries are applied when committed and durable here, so that a replica is never ahead of its own log. */
  deliverableIndex: (commit: number, durableIndex: number): number => Math.min(commit, durableIndex),

  // — Logs —

  /** An append that begins below what is committed here is old news: everything up to the commit index agrees already. */
  isOldNews: (previousIndex: number, commit: number): boolean => previousIndex < commit,

  /** Position in `entries` of the first one that is not in the log already; only from there on is the log cut and written (§3.5). */
  firstNew: (entries: readonly Entry[], termOf: (index: number) => number | undefined): number => {
    let at = 0;
    while (at < entries.length && termOf(entries[at]!.index) === entries[at]!.term) at++;
    return at;
  },

  /** A snapshot replaces the log only if it goes beyond what is known to be committed. */
  snapshotReplacesLog: (snapshotIndex: number, commit: number): boolean => snapshotIndex > commit,

  // — Identity —

  /** The nonce last seen of a member must be among those its disk remembers. */
  bootFits: (lastSeen: string | undefined, boots: readonly string[]): boolean => lastSeen === undefined || boots.includes(lastSeen),

  /** A start must still have what that member acknowledged to this leader. */
  logFits: (lastIndex: number, acknowledgedIndex: number): boolean => lastIndex >= acknowledgedIndex,

  // — Reads —

  /** A new leader knows the commit index only once an entry of its own term is committed (§6.4). */
  knowsCommit: (committedTerm: number | undefined, ownTerm: number): boolean => committedTerm === ownTerm,

  /** Leadership is proven by a round, unless nobody else could lead. */
  readNeedsRound: (soleVoter: boolean): boolean => !soleVoter,

  /** An answer to a round proves nothing about a read that came after its sending. */
  readMayJoin: (roundWasSent: boolean): boolean => !roundWasSent,

  // — Leases (§6.4.1) —

  /** The followers' promises began after the sending; when the answers came says nothing. */
  leaseBegins: (sentMs: number, _receivedMs: number): number => sentMs,

  /** The clock is read after the request came; the last tick may be long ago. */
  leaseClock: (nowMs: number, _lastTickMs: number): number => nowMs,

  /** After a pause or a jump, what the clock said before is worth nothing. */
  clockIsSteady: (sinceTickMs: number, tickGapMs: number, jumpMs: number, clockJumpMs: number): boolean =>
    sinceTickMs <= tickGapMs && Math.abs(jumpMs) <= clockJumpMs,

  /** TimeoutNow releases the receiver, and those that it asks, from their promises. */
  leaseAfterTimeoutNow: (timeoutNowSent: boolean): boolean => !timeoutNowSent,
};

export type Rules = Readonly<typeof rules>;
