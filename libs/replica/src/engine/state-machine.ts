import type { Configuration, Position } from '#raft-ts';
import type { TableChanges } from '../codec/changeset.js';
import type { Migration } from '../state/command.js';
import type { Capture } from './capture.js';
import type { EntryContent } from './entry.js';

/** Where a replica stands, as its own database says. */
export interface Standing extends Position {
  /** Index that is durable in the database itself, whatever the log has. */
  readonly durable: number;
  readonly schema: number;
  /** Time of the last applied entry, milliseconds since 1970. */
  readonly now: number;
  /** As applied. */
  readonly configuration: Configuration;
}

/** One thing to apply, at its place. `base` is the entry before it. */
export interface Step {
  readonly position: Position;
  readonly base: Position;
  /** Absent for no-ops and configuration entries without rows. */
  readonly content?: EntryContent | undefined;
  readonly configuration?: Configuration | undefined;
}

/** The replica cannot go on: another base, another schema, damaged bytes, a changeset that does not fit. It heals by a snapshot only. */
export class ReplicaStopped extends Error {
  constructor(why: string, options?: { cause?: unknown }) {
    super(`the replica stopped: ${why}`, options);
    this.name = 'ReplicaStopped';
  }
}

/** At trial only: this command's changeset will not apply. The batch is captured again without it. */
export class TrialFailed extends Error {
  constructor(
    /** Its number in the batch. */
    readonly command: number,
    why: string,
  ) {
    super(`a changeset would not apply: ${why}`);
    this.name = 'TrialFailed';
  }
}

/** The disk under the database is full. Nothing was applied; it may be tried again. */
export class DatabaseFull extends Error {
  constructor(cause: unknown) {
    super('no space left for the database', { cause });
    this.name = 'DatabaseFull';
  }
}

/**
 * The state machine as the engine drives it. The engine's one mutex covers every call; a trial is the only thing that may stay open between
 * two of them, and nothing else is called until it is committed or rolled back.
 */
export interface StateMachine {
  readonly capture: Capture;
  standing(): Standing;
  /** Migrations that this build has and the database has not. */
  pending(): Migration[];
  /** Migrations that the database has had and this build does not know. */
  unknown(): string[];
  /**
   * Applies in a transaction that stays open. Leaders do it before they propose, so that what is proposed is known to apply.
   * @throws TrialFailed, ReplicaStopped, DatabaseFull; then nothing is open
   */
  trial(step: Step): TableChanges[][];
  commitTrial(): void;
  rollbackTrial(): void;
  /** What every member does with a committed entry. Answers the changes of each command. @throws ReplicaStopped, DatabaseFull */
  apply(step: Step): TableChanges[][];
  /** One small commit with synchronous FULL; makes everything applied so far durable, and says up to where. */
  makeDurable(): number;
  /** Moves frames of the WAL into the database, as far as readers let it. */
  checkpoint(): void;
  close(): Promise<void>;
}
