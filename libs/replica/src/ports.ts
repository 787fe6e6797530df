import type { Command, Identity, Lifecycle, Reader, Sql } from './state/command.js';
import type { EngineNetwork } from './transport/network.js';

export interface SubmitOptions {
  identity: Identity;
  /** W3C trace id of the request, for logs, operations and history. */
  requestId?: string;
  /** How long the caller will wait; at most 60 s, 30 s when absent. */
  timeoutMs?: number;
}

export interface Submitted<R> {
  result: R;
  /** The log index at which it was applied on this member. */
  index: number;
}

/** One row that a command would touch, or has touched. Secret columns read `<hidden>`. */
export interface Effect {
  /** Table name. */
  entity: string;
  action: 'create' | 'update' | 'delete';
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
}

/** What an applied entry brought, as watchers on this member see it. */
export interface Applied {
  index: number;
  time: Date;
  commands: { name: string; identity: Identity; requestId?: string; submitId: string; lifecycle: Lifecycle[]; mine: boolean }[];
  /** Tables touched, with the primary keys of the rows; `'everything'` after a snapshot was installed. */
  touched: { table: string; ids: (string | number)[] }[] | 'everything';
}

export interface HistoryEntry {
  /** Of the log entry; several commands that were submitted at once may share one. */
  index: number;
  /** Which of the entry's commands, from 0. */
  part: number;
  time: string;
  identity: Identity;
  command: string;
  project: string;
  requestId: string;
  changes: Effect[];
  invertible: boolean;
}

export interface ReplicaStatus {
  member: { id: number; clusterId: string };
  role: 'leader' | 'follower' | 'candidate' | 'learner';
  leader?: number;
  term: number;
  commit: number;
  applied: number;
  durable: number;
  schema: number;
  /** Set when the replica stopped (damage, schema, failed apply): it answers reads marked stale, and says why. */
  stopped?: string;
  /** Odd things that an operator should know of: a clock that jumped. */
  warnings?: string[];
  /** A leader's view of the others: up to where their logs agree, and how long they have been silent (absent: not heard yet). */
  peers?: { id: number; match: number; silentMs?: number }[];
}

/** Writes. The only way anything in the replica changes. */
export interface SubmitPort {
  /**
   * Runs the command on the leader, exactly once, and resolves when this member has applied it: the caller reads its own write.
   * @throws the handler's Fault; Fault unavailable with `metadata: {submitId}` when the outcome is unknown, with retryAfterS when the queue is full
   */
  submit<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<Submitted<R>>;
  /** Runs the command, rolls it back, proposes nothing, and says what it would have done. */
  dryRun<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<{ would: Effect[]; result: R }>;
  /** The fate of a submit whose answer was lost. */
  submitted(submitId: string): Promise<{ state: 'applied'; index: number } | { state: 'unknown' }>;
}

/** Reads, from this member's own copy. */
export interface ReadPort {
  /** Resolves when this member has applied everything that was acknowledged before the call. Shared by all who wait. */
  barrier(): Promise<void>;
  /** Synchronous queries on the read-only connection. Open and close a read in one turn: `.all()`, never an iterator. */
  readonly reader: Reader;
}

export interface WatchPort {
  /** Calls back after each applied entry, in order, in the main thread. */
  watch(listener: (applied: Applied) => void): Disposable;
}

/** One member's replica, as the main thread sees it. The engine behind it runs in a worker. */
export interface Replica extends SubmitPort, ReadPort, WatchPort {
  status(): Promise<ReplicaStatus>;
  history(query: {
    from?: number;
    limit?: number;
    project?: string;
  }): Promise<{ entries: HistoryEntry[]; span: { from: number; to: number; gaps: [number, number][] } }>;
  /** Applies the inverse of an entry, or of one command in it, if its rows are unchanged since; otherwise Fault conflict that lists the conflicts. */
  revert(index: number, options: SubmitOptions & { dryRun?: boolean; part?: number }): Promise<{ would?: Effect[]; index?: number }>;
  /** Takes a snapshot and compacts the log, now. */
  compact(): Promise<void>;
  close(): Promise<void>;
}

/** Who a replica is of, when it begins anew. */
export interface NewIdentity {
  /** Of the cluster that takes it in; absent: a new cluster of its own. */
  readonly cluster?: string;
  readonly member: number;
}

/** One member's replica as the cluster subject steers it: its peers, and a new beginning in another cluster. */
export interface MemberReplica extends Replica {
  /** Certificate and peers, now and after every change of them. */
  configure(network: EngineNetwork): void;
  /** A connection for the engine, its bytes unread. The descriptor (a duplicate) is the engine's from here on. */
  accept(fd: number): void;
  /** Leader: hands over to that voter, or the best. */
  transferLeadership(to?: number): Promise<boolean>;
  /**
   * Lets go of this member's whole database and begins anew: with `cluster` as a member that was just admitted there, without as a server that
   * stands alone. Resolves when the new database is there; watchers are told that everything changed. A failure leaves the old one as it was.
   */
  begin(identity: NewIdentity, network: EngineNetwork, timeoutMs: number): Promise<void>;
}

/** `local.db`: what belongs to this member alone (its addresses, unfinished work, finished operations). SQLite, never replicated, synchronous. */
export interface LocalStore extends Sql {
  /** Brings a subject's tables to its newest shape; statements already run (by their number) are not run again. */
  migrate(subject: string, statements: readonly string[]): void;
  transaction<T>(work: () => T): T;
  close(): void;
}
