/**
 * The face of raft-ts. Everything that crosses it is plain data: no classes, no handles, nothing that cannot be cloned.
 *
 * The node owns no disk, network, clock or randomness. The caller (below: the *host*) turns this wheel, in one thread:
 *
 * 1. Feed it: `step` for each message that came in, `tick` every 50 ms or so, `propose`, `readIndex`, … Drain the inbox before a `tick`
 *    that comes late, so that no timer counts what already lies in the inbox.
 * 2. While `hasReady()`, take `ready()` and
 *    a. send `messagesNow` (they depend on nothing that this Ready wants written: a leader's appends go out while its own disk works);
 *    b. write `snapshotChunk`, and in ONE batch `snapshot`, `hardState` and `entries`, in this order, and make it durable;
 *    c. only then send `messagesAfterPersist` and call `persisted(ready.upTo)`;
 *    d. apply `committed` in order and call `applied(index)`; answer `readStates` once the applied index has reached theirs.
 *    Readys are written in the order in which they were given. A host with an asynchronous disk may take further Readys while earlier ones
 *    are being written; one with a synchronous log simply does a, b, c, d and loops.
 *    A message may be lost, doubled or late at will; it may not be sent before its time in (a) or (c).
 * 3. Errors: a log write that fails must end the process, never be retried; the node has no call for it.
 *
 * Restart: draw a boot nonce, make it durable, then build a new node from the durable hard state, the configuration *as applied* with its
 * index, and the log as storage. The node looks for later configurations in the log by itself. It votes for nobody in its first 500 ms.
 *
 * All times are milliseconds of a monotonic clock; only differences matter. Index and term are safe integers, from 1 (0 means "none").
 */
import type { Rules } from './rules.js';

/** 32-bit integer from the cluster's sequence, never given twice, never 0. */
export type MemberId = number;

/** A place in the log. */
export interface Position {
  readonly term: number;
  readonly index: number;
}

export type EntryType = 'normal' | 'configuration' | 'noop';

/**
 * One log entry. The host stores all of it, `configuration` included. A `noop` opens a leader's term and has empty data. Configuration
 * and noop entries are handed out as committed like any other, so that the host's applied index knows no gaps.
 */
export interface Entry extends Position {
  readonly type: EntryType;
  /** Opaque to raft-ts. Never changed after it was handed in. */
  readonly data: Uint8Array;
  /** Exactly in entries of type `configuration`: the whole configuration that is in force from this entry on. */
  readonly configuration?: Configuration;
}

/** What a member must never forget. Written whenever a Ready carries it, in the same batch as the entries beside it. */
export interface HardState {
  readonly term: number;
  /** Who got this member's vote in `term`. */
  readonly vote?: MemberId | undefined;
  /** Highest index known to be committed; a hint that saves work after a restart, its loss costs nothing. */
  readonly commit: number;
}

/**
 * Who takes part. In force from the moment its entry is *appended*, undone when that entry is truncated away. While `outgoing` is not empty
 * the configuration is joint: elections and commits need a majority of `voters` and one of `outgoing`.
 * A member that is being demoted stands in `outgoing` and in its new list at once.
 */
export interface Configuration {
  readonly voters: readonly MemberId[];
  readonly outgoing: readonly MemberId[];
  /** Standbys: learners that the host counts as such (`cluster.max_standby`). */
  readonly learners: readonly MemberId[];
  /** Learners that nobody counts; they get heartbeats rarely and entries in large batches. */
  readonly spares: readonly MemberId[];
  /** Incarnation of each member above. One that speaks with a lower incarnation is refused; absent means 0. */
  readonly incarnations: Readonly<Record<MemberId, number>>;
  /** Ids that were members once and never will be again. */
  readonly removed: readonly MemberId[];
}

export type MemberRole = 'voter' | 'learner' | 'spare' | 'removed';

/**
 * What `proposeConfiguration` makes of the present configuration. A change of one voter is made in one step, anything larger through a
 * joint configuration, which ends by a second entry: `{ leaveJoint: true }`, proposed by the host once `leaveJointDue` says so.
 */
export type ConfigurationChange =
  | { readonly members: readonly { readonly id: MemberId; readonly role: MemberRole; readonly incarnation?: number }[]; readonly joint?: boolean }
  | { readonly leaveJoint: true };

/** Names a snapshot: its bytes are the host's. Two with the same index and hash are the same, and a transfer of one can be resumed. */
export interface SnapshotMeta extends Position {
  /** As *applied* at `index`, never the one that is merely appended. */
  readonly configuration: Configuration;
  readonly sizeBytes: number;
  /** Of the bytes; the host checks it, raft-ts only compares. */
  readonly hash: string;
}

/** A piece of a snapshot that came in. Write it at `offset` of the file for (index, hash); it always joins on what was written before. */
export interface SnapshotChunk {
  readonly from: MemberId;
  readonly meta: SnapshotMeta;
  readonly offset: number;
  readonly data: Uint8Array;
  /** The file is whole now: check hash and size, make it durable, then call `snapshotReceived(meta, ok)`. */
  readonly last: boolean;
}

/** A snapshot to install. See Ready.snapshot. */
export interface SnapshotInstall {
  readonly meta: SnapshotMeta;
  /**
   * `everything`: the log is dropped whole and begins after meta.index; write marker, truncation and hard state in one batch.
   * `state-machine`: only the state machine is replaced (it asked for it); log and hard state are newer, and stay.
   */
  readonly replaces: 'everything' | 'state-machine';
}

/** What the caller's log must offer the node, synchronously. It holds what was durable when `persisted` was last called. */
export interface LogStorage {
  /** Index of the first entry that is still there: one above the snapshot or compaction point. 1 for a new log. Rises by compaction. */
  firstIndex(): number;
  /** Index of the last entry, firstIndex() - 1 if there is none. */
  lastIndex(): number;
  /** Term of the entry at `index`. Also known for firstIndex() - 1 (0 for index 0). Undefined outside of that. */
  term(index: number): number | undefined;
  /** Entries from ≤ index ≤ to, at least one (if from is there), then as many as fit in maxBytes of data. */
  entries(from: number, to: number, maxBytes: number): readonly Entry[];
}

/** Where a leader gets snapshots to send. A host that never compacts its log needs none. */
export interface SnapshotSource {
  /** The newest complete snapshot, or undefined while there is none: Ready.snapshotWanted then asks for one. */
  latest(): SnapshotMeta | undefined;
  /** Bytes of that snapshot from `offset`, at most `maxBytes`; undefined if it is gone (the transfer begins anew with another). */
  read(meta: SnapshotMeta, offset: number, maxBytes: number): Uint8Array | undefined;
}

/** Who this member is, and which start of it this is. */
export interface Identity {
  readonly cluster: string;
  readonly member: MemberId;
  /** Raised when a damaged member comes back empty under its old id. */
  readonly incarnation: number;
  /**
   * Boot nonces of this disk, oldest first, the one of this start last, all durable *before* the node is built. Peers remember the last
   * one they saw, and refuse a disk in whose list that one is missing: it was cloned or put back. Keep the last `BOOTS_KEPT`.
   */
  readonly boots: readonly string[];
}

/** How many boot nonces a member keeps and sends: a peer that slept through more of its starts refuses it by mistake. */
export const BOOTS_KEPT = 64;

/** All timers, milliseconds. */
export interface Timers {
  readonly heartbeatMs: number;
  readonly spareHeartbeatMs: number;
  /** A follower asks for votes after a random time from this range without a leader. */
  readonly electionMinMs: number;
  readonly electionMaxMs: number;
  /** No vote for anybody, oneself included, so long after a leader's message or one's own start. */
  readonly promiseMs: number;
  /** A leader that heard no quorum for so long gives up office. */
  readonly quorumMs: number;
  /** Life of a lease, from the sending of the round. Well below promiseMs. */
  readonly leaseMs: number;
  /** Ticks further apart than this drop the lease, and let no other timer fire in the late tick. */
  readonly tickGapMs: number;
  /** Realtime and monotonic clock differing by more than this between two ticks drops the lease. */
  readonly clockJumpMs: number;
  /** A transfer of leadership that took so long is given up. */
  readonly transferMs: number;
  /** A snapshot transfer without progress for so long is given up, its log no longer pinned. */
  readonly snapshotStallMs: number;
  /** An unanswered append, chunk or forwarded read is sent again after this. */
  readonly resendMs: number;
  /** A leader whose log commit takes longer than `slowLogMs`, `slowLogTimes` within `slowLogWindowMs`, hands over. */
  readonly slowLogMs: number;
  readonly slowLogTimes: number;
  readonly slowLogWindowMs: number;
}

/** All sizes, bytes of entry data. */
export interface Limits {
  /** One append message. */
  readonly appendBytes: number;
  /** One append message to a spare. */
  readonly spareAppendBytes: number;
  /** Sent and unacknowledged, per peer. */
  readonly inflightBytes: number;
  /** One snapshot chunk. */
  readonly chunkBytes: number;
  /** Chunks under way at once, per transfer. */
  readonly chunksInflight: number;
  /** `committed` of one Ready. */
  readonly committedBytes: number;
  /** Appended here and not yet committed; beyond it proposals are refused. */
  readonly uncommittedBytes: number;
  /** The most recent entries stay in memory, about so much of them, even when they are durable and applied. */
  readonly tailBytes: number;
}

export interface RaftOptions {
  readonly identity: Identity;
  /** As last made durable; `{ term: 0, commit: 0 }` for a new member. */
  readonly hardState: HardState;
  /** The applied index, and the configuration as of it. A new cluster begins with index 0 and its first voters; a joiner with no voters. */
  readonly applied: { readonly index: number; readonly configuration: Configuration };
  readonly storage: LogStorage;
  readonly snapshots?: SnapshotSource;
  /** Monotonic time of this start. */
  readonly startMs: number;
  /** In [0, 1). Seeded by the host, so that a simulation can replay it. */
  readonly random: () => number;
  /** Answer reads from a lease instead of a round. Off by default. */
  readonly leases?: boolean;
  /** See setPromotable. True by default. */
  readonly promotable?: boolean;
  readonly timers?: Partial<Timers>;
  readonly limits?: Partial<Limits>;
  /** What Ready.peerBoots gave before the restart; loss is tolerated. */
  readonly peerBoots?: Readonly<Record<MemberId, string>>;
  /** A snapshot file that was partly received before the restart. */
  readonly partialSnapshot?: { readonly meta: SnapshotMeta; readonly receivedBytes: number };
  /** For tests only: replaces single rules, to prove that a simulator notices. */
  readonly rules?: Partial<Rules>;
}

export type RaftRole = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/**
 * The answer to `readIndex(context)`. With `index`: answer the read when the applied index has reached it. `refused`: nothing is known about
 * freshness; ask again. `no-leader`: there is none to ask. `lost`: the leader changed, or gave no answer in time.
 */
export type ReadState = { readonly context: number; readonly index: number } | { readonly context: number; readonly refused: 'no-leader' | 'lost' };

/** Why a member's word does not count. */
export type RefusalReason =
  /** Another cluster. */
  | 'cluster'
  /** This id was removed. */
  | 'removed'
  /** An earlier incarnation of this member. */
  | 'incarnation'
  /** Its boot nonces lack the one last seen: the disk was cloned or put back; or another start of it took its place. */
  | 'boot'
  /** Its log ends before what it has acknowledged: the disk was put back. */
  | 'log';

/** A peer refuses this member by name (`member` is this member), or this member refuses `member`. */
export interface Refusal {
  readonly by: MemberId;
  readonly member: MemberId;
  readonly reason: RefusalReason;
}

/** Names a Ready for `persisted`: its number, and where the log ends once it is durable. */
export interface PersistedUpTo extends Position {
  readonly ready: number;
}

export interface Ready {
  /** Pass it to `persisted` when everything in (b) is durable. */
  readonly upTo: PersistedUpTo;
  /** False if (b) has nothing to write: then messagesAfterPersist may go at once, provided earlier Readys are durable; call persisted all the same. */
  readonly mustPersist: boolean;
  /** Absent if unchanged. */
  readonly hardState?: HardState;
  /** To append. If the first one's index is not above the end of the stored log, the log is truncated before it first. */
  readonly entries: readonly Entry[];
  readonly messagesNow: readonly Message[];
  readonly messagesAfterPersist: readonly Message[];
  /** Committed *and* durable here, in order, each exactly once (after a snapshot install they go on behind it). */
  readonly committed: readonly Entry[];
  /**
   * Install it: one log batch as SnapshotInstall says, `persisted`, then replace the state machine, then `applied(meta.index)`. Until that
   * call no committed entries are given; they go on behind meta.index, even if later ones were given before.
   */
  readonly snapshot?: SnapshotInstall;
  readonly snapshotChunk?: SnapshotChunk;
  /** A peer needs a snapshot of at least this index, and the source has none: make one. Repeated with every tick until it is there. */
  readonly snapshotWanted?: number;
  readonly readStates: readonly ReadState[];
  readonly term: number;
  readonly role: RaftRole;
  readonly leader?: MemberId;
  /** Leader, joint, and the joint entry is applied: propose `{ leaveJoint: true }` in turn. Stays true until that is appended. */
  readonly leaveJointDue: boolean;
  /** Refusals since the last Ready, for logs and warnings. */
  readonly refusals: readonly Refusal[];
  /** Last boot nonce seen of each peer, for RaftOptions.peerBoots. Comes, if changed, with the next Ready that has something to write anyway. */
  readonly peerBoots?: Readonly<Record<MemberId, string>>;
}

/**
 * `not-leader`: as it says. `place`: the entry would get another place; capture anew once everything is applied. `transferring`: leadership is
 * being handed over. `full`: too much is uncommitted. For configurations also `pending`: the last one is not applied, or nothing of the own
 * term is committed yet; `invalid`: the change makes no sense (nobody left to vote, a removed id, leaving what is not joint).
 */
export type ProposeRefusal = 'not-leader' | 'place' | 'transferring' | 'full';
export type ProposeResult = 'ok' | { readonly refused: ProposeRefusal };
export type ProposeConfigurationResult = 'ok' | { readonly refused: ProposeRefusal | 'pending' | 'invalid'; readonly why?: string };

interface MessageHead {
  readonly cluster: string;
  readonly from: MemberId;
  readonly to: MemberId;
  readonly incarnation: number;
  /** Boot nonce of the sender's present start. */
  readonly boot: string;
  readonly term: number;
}

/** What members say to each other. Plain data; proto/raft.proto has the same fields. A transport carries them unread. */
export type Message = MessageHead & MessageBody;

export type MessageBody =
  /** Leader: entries behind `previous`. `round` as in heartbeat. */
  | { readonly type: 'append'; readonly previous: Position; readonly entries: readonly Entry[]; readonly commit: number; readonly round: number }
  /** Everything up to `index` is as the leader's, and durable. */
  | { readonly type: 'append-ack'; readonly index: number; readonly round: number }
  /** `previous` did not match; where the follower's log may agree: its end at or before the clash, in a term not above the clash. */
  | { readonly type: 'append-refused'; readonly index: number; readonly hint: Position; readonly round: number }
  /** `round` numbers rounds of sending: an answer to a round proves that its sender was followed after the sending. */
  | { readonly type: 'heartbeat'; readonly commit: number; readonly round: number }
  | { readonly type: 'heartbeat-ack'; readonly round: number }
  /** `term` of a pre-vote is the one the sender would campaign in. */
  | { readonly type: 'pre-vote'; readonly last: Position }
  | { readonly type: 'pre-vote-answer'; readonly granted: boolean }
  /** `transfer`: the leader asked for this election, its promise does not stand in the way. */
  | { readonly type: 'vote'; readonly last: Position; readonly transfer: boolean }
  | { readonly type: 'vote-answer'; readonly granted: boolean }
  | { readonly type: 'timeout-now' }
  /** Follower: what is the commit index, proven fresh? `id` is the follower's own count. */
  | { readonly type: 'read-index'; readonly id: number }
  /** `askerBoot`: the start of the follower that asked; its count begins anew with each. */
  | { readonly type: 'read-index-answer'; readonly id: number; readonly askerBoot: string; readonly index: number }
  | { readonly type: 'snapshot-chunk'; readonly meta: SnapshotMeta; readonly offset: number; readonly data: Uint8Array }
  /** `receivedBytes`: go on from here. `status`: `done` if it is installed or not needed any more, `bad` if the bytes did not match the hash. */
  | {
      readonly type: 'snapshot-ack';
      readonly index: number;
      readonly hash: string;
      readonly receivedBytes: number;
      readonly status: 'more' | 'done' | 'bad';
    }
  /** Follower: the state machine needs a snapshot of at least this index. */
  | { readonly type: 'snapshot-request'; readonly minIndex: number }
  /** A start: here I am, with these boots, and my log ends there. */
  | { readonly type: 'hello'; readonly boots: readonly string[]; readonly last: Position }
  /** A message came with another boot nonce than the one last seen: say hello. */
  | { readonly type: 'who' }
  | { readonly type: 'refused'; readonly reason: RefusalReason; readonly refusedBoot: string };

export type MessageType = Message['type'];

/** What a host or an operator may want to see; not part of the protocol. */
export interface RaftStatus {
  readonly id: MemberId;
  readonly term: number;
  readonly role: RaftRole;
  readonly leader?: MemberId | undefined;
  readonly vote?: MemberId | undefined;
  readonly commit: number;
  readonly applied: number;
  readonly last: Position;
  /** End of what is durable here. */
  readonly stable: number;
  readonly configuration: Configuration;
  readonly promotable: boolean;
  readonly transferringTo?: MemberId | undefined;
  readonly leaseUntilMs?: number | undefined;
  /** A leader's view of the others. */
  readonly peers: readonly PeerStatus[];
}

export interface PeerStatus {
  readonly id: MemberId;
  readonly state: 'probing' | 'replicating' | 'snapshot';
  readonly match: number;
  readonly next: number;
  readonly inflightBytes: number;
  /** When this peer was last heard; undefined if never in this term. */
  readonly heardMs?: number | undefined;
}

/** See the head of this file for the order of calls. */
export interface Raft {
  /**
   * Time passes. `realMs`, if given, is the wall clock read at the same moment; it is used only to notice that one of the two jumped.
   * Ticks only schedule: two at the same `now` are as good as one.
   */
  tick(nowMs: number, realMs?: number): void;
  /** A message came in. Unknown, stale or foreign ones are dropped or refused here; the host filters nothing. */
  step(message: Message, nowMs: number): void;
  /** Appends one entry at exactly `at`, or nothing. `at` must be { own term, last index + 1 }: see `nextPlace`. `data` is not copied. */
  propose(data: Uint8Array, at: Position): ProposeResult;
  /** The same for a configuration entry; `data` is the host's share of it (the changeset of its member rows). */
  proposeConfiguration(change: ConfigurationChange, data: Uint8Array, at: Position): ProposeConfigurationResult;
  /** The place the next proposal must name; undefined unless leader. */
  nextPlace(): Position | undefined;
  /**
   * Asks for an index at which a read is linearizable. The answer comes in Ready.readStates with the same `context`, exactly once. Works on
   * every member: a follower asks its leader. Contexts are the host's count and must not repeat within one node.
   */
  readIndex(context: number, nowMs: number): void;
  /** Leader: hand over to this voter, or without one to the best. False if not leader or `to` is no voter. Proposals are refused meanwhile. */
  transferLeadership(nowMs: number, to?: MemberId): boolean;
  /** The state machine is unusable below `minIndex` (or at all): fetch a snapshot of at least that index. Repeats itself until one is installed. */
  requestSnapshot(minIndex: number): void;
  /** Whether this member may lead. A leader that may not any more hands over and steps down at once. Voting is not touched. */
  setPromotable(yes: boolean, nowMs: number): void;
  /**
   * Leader: a submit waits at that peer for entry `index`, so tell it at once when that is committed. Voters and learners are told at once
   * anyway; this is for spares.
   */
  expectCommit(id: MemberId, index: number): void;
  /** The transport lost its connection to that peer. Brings the pre-vote question forward if it was the leader; decides nothing. */
  peerUnreachable(id: MemberId, nowMs: number): void;
  /** How long the last log batch took. A slow leader hands over, see Timers. */
  logWriteTook(durationMs: number, nowMs: number): void;
  hasReady(): boolean;
  ready(): Ready;
  /** Everything of that Ready and of all before it is durable. `nowMs` of the last other call is taken as the time. */
  persisted(upTo: PersistedUpTo): void;
  /** The state machine stands at `index`. */
  applied(index: number): void;
  /** The answer to a SnapshotChunk with `last`: the file is whole, right and durable (then Ready.snapshot follows), or is not (start anew). */
  snapshotReceived(meta: SnapshotMeta, ok: boolean): void;
  /** While a transfer is under way: the log from here on is still needed. A host that must compact further may; the transfer then begins anew. */
  pinnedIndex(): number | undefined;
  status(): RaftStatus;
}
