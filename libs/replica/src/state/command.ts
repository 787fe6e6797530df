import type { EntityManager } from 'typeorm';

/** Who caused a command: the requestor of lifecycle events and the `identity` of history. */
export interface Identity {
  /** 'internal' is the server itself (schedules, volatile keys, power states). */
  protocol: 'unix' | 'tls' | 'cluster' | 'internal';
  /** Unix user name, certificate fingerprint, or member name. */
  username: string;
  /** `@` for the local socket, else `address:port`. */
  address: string;
}

export const internalIdentity: Identity = { protocol: 'internal', username: '', address: '' };

export type SqlValue = null | number | bigint | string | Uint8Array;

/** Reading a replica: synchronous, in the read transaction of the moment. Every query of a `state` wing takes one of these. */
export interface Reader {
  all<T>(sql: string, ...parameters: SqlValue[]): T[];
  get<T>(sql: string, ...parameters: SqlValue[]): T | undefined;
}

/** Reading and writing inside a command handler. */
export interface Sql extends Reader {
  run(sql: string, ...parameters: SqlValue[]): { changes: number };
}

/** What a lifecycle event says; type, time, member and requestor are added where it is emitted. */
export interface Lifecycle {
  /** LXD's name: `instance-created`, `profile-updated` … */
  action: string;
  /** URL of the object, with ?project= when not default. */
  source: string;
  project?: string;
  context?: Record<string, unknown>;
}

/**
 * What a handler may use. It runs inside the capture on the leader, may run again if its batch loses its place, and must therefore have no
 * effect but on the database: no I/O, no clock, no randomness, no promise that outlives it.
 */
export interface CommandContext {
  /** Plain SQL on the capture connection, for hot paths. Foreign keys are on. */
  readonly sql: Sql;
  /** TypeORM's manager on the same connection and transaction. Every call must be awaited. */
  readonly em: EntityManager;
  /** Time of the command: never earlier than that of the last applied one. */
  readonly now: Date;
  readonly identity: Identity;
  /** The next id of a sequence ('instances', 'members' …). Never reused once committed; not to be shown to anybody before commit. */
  nextId(sequence: string): number;
  /** Part of the entry: emitted once, at apply, by the member that submitted. */
  emit(event: Lifecycle): void;
  /**
   * Changes who takes part in consensus, in the very entry that carries this command's rows, so that the two cannot disagree. Once per command;
   * such a command has an entry to itself, and waits until the change before it is through.
   */
  configure(changes: readonly MembershipChange[]): void;
}

/** A learner is a standby; a spare is a learner that nobody counts. A removed id never comes back. */
export interface MembershipChange {
  readonly id: number;
  readonly role: 'voter' | 'learner' | 'spare' | 'removed';
}

/** One kind of write: a name for the log, and the handler that makes it. @see defineCommand */
export interface Command<P = unknown, R = unknown> {
  readonly name: string;
  readonly run: (context: CommandContext, payload: P) => R | Promise<R>;
  /** Payload fields that history shows as `<hidden>`. */
  readonly secretFields?: readonly string[];
}

/**
 * A command of a subject: `profiles.create`. The payload is plain JSON data, made (UUIDs, hashes, secrets included) before submit; the result is
 * at most 4 KiB of JSON. Faults thrown by the handler reach the submitter unchanged and undo this command only.
 */
export function defineCommand<P, R = void>(command: Command<P, R>): Command<P, R> {
  return Object.freeze(command);
}

/** DDL that every member runs as an entry of its own. Deterministic text; new columns come last, with a default. */
export interface Migration {
  /** `profiles-1`: subject and running number. */
  readonly name: string;
  readonly sql: readonly string[];
}

/** What a subject brings to the replica; the door of its `state` wing exports one, and apps/member-agent/src/schema.ts lists them. */
export interface StateWing {
  readonly subject: string;
  /** TypeORM entity classes. */
  readonly entities: readonly (new () => object)[];
  readonly migrations: readonly Migration[];
  // Payload types differ from command to command; the log carries them as JSON.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly commands: readonly Command<any, any>[];
  /** Columns whose values history and dry-runs show as `<hidden>`: all of them, or only these keys of their JSON map. */
  readonly secrets?: readonly { readonly table: string; readonly column: string; readonly keys?: readonly string[] }[];
}
