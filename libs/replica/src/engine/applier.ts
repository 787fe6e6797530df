import { assert } from '#kit/assert';
import type { Entry, Position } from '#raft-ts';
import type { TableChanges } from '../codec/changeset.js';
import { decodeEntry, type EntryContent } from './entry.js';
import type { Mutex } from './mutex.js';
import type { EngineClock } from './ports.js';
import { engineRules, type EngineRules } from './rules.js';
import { DatabaseFull, ReplicaStopped, type StateMachine } from './state-machine.js';

/** Work in the worker is cut into slices, so that no heartbeat waits for it. */
const SLICE_MS = 20;
/** Commits between checkpoints; some 30 kB of WAL each. */
const CHECKPOINT_EVERY = 250;

/** An entry that this member proposed and whose changes stand in an open trial. */
export interface Flight {
  readonly position: Position;
  readonly content: EntryContent;
  readonly changes: TableChanges[][];
  /** It got its place and is applied. */
  landed(): void;
  /** Another entry has its place. */
  lost(): void;
}

export interface ApplierListener {
  applied(position: Position, content: EntryContent | undefined, changes: TableChanges[][], entry: Entry): void;
  stopped(why: string): void;
  databaseFull(error: DatabaseFull): void;
}

/** Applies what is committed, in order, when the mutex lets it: the flight by committing its trial, everything else from its bytes. */
export class Applier {
  readonly #queue: Entry[] = [];
  #flight: Flight | undefined;
  #trialOpen = false;
  #running = false;
  #stopped: string | undefined;
  #full = false;

  constructor(
    private readonly machine: StateMachine & { readonly commitsSinceCheckpoint: number },
    private readonly mutex: Mutex,
    private readonly clock: EngineClock,
    private readonly listener: ApplierListener,
    private readonly rules: EngineRules = engineRules,
  ) {}

  get stoppedBecause(): string | undefined {
    return this.#stopped;
  }

  /** Nothing is waiting to be applied, and no entry of ours is under way: the next capture would be a true one. */
  get idle(): boolean {
    return this.#queue.length === 0 && this.#flight === undefined;
  }

  /** What is committed waits for space on the disk. */
  get full(): boolean {
    return this.#full;
  }

  add(entries: readonly Entry[]): void {
    if (this.#stopped === undefined) this.#queue.push(...entries);
    this.run();
  }

  /** The trial of this entry is open; it has been proposed at its place. */
  inFlight(flight: Flight): void {
    assert(this.#flight === undefined, 'one batch is in flight at a time');
    this.#flight = flight;
    this.#trialOpen = true;
  }

  /** This member does not lead any more: the trial is undone; whether its entry gets its place is for others to say. */
  leftOffice(): void {
    if (!this.#trialOpen) return;
    this.#trialOpen = false;
    this.machine.rollbackTrial();
  }

  /** A snapshot takes the place of everything up to `index`. */
  overtaken(index: number): void {
    this.leftOffice();
    while ((this.#queue[0]?.index ?? Infinity) <= index) this.#queue.shift();
    if (this.#flight && this.#flight.position.index <= index) {
      this.#flight.lost();
      this.#flight = undefined;
    }
  }

  stop(why: string): void {
    if (this.#stopped !== undefined) return;
    this.leftOffice();
    this.#stopped = why;
    this.#queue.length = 0;
    this.listener.stopped(why);
  }

  /** A snapshot has taken the place of a state that could not go on. */
  heal(): void {
    this.#stopped = undefined;
  }

  run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      const startMs = this.clock.monotonicMs();
      while (this.#queue.length > 0 && !this.mutex.held) {
        this.#one(this.#queue[0] as Entry);
        if (this.clock.monotonicMs() - startMs > SLICE_MS && this.#queue.length > 0) {
          void this.clock.turn().then(() => this.run());
          break;
        }
      }
      if (this.#queue.length === 0) this.#full = false;
      if (this.machine.commitsSinceCheckpoint >= CHECKPOINT_EVERY && !this.mutex.held && !this.#trialOpen) this.machine.checkpoint();
    } catch (error) {
      if (error instanceof DatabaseFull) {
        const told = this.#full;
        this.#full = true;
        if (!told) this.listener.databaseFull(error);
      } else if (error instanceof ReplicaStopped) this.stop(error.message);
      else throw error;
    } finally {
      this.#running = false;
    }
  }

  #one(entry: Entry): void {
    const position = { index: entry.index, term: entry.term };
    const flight = this.#flight;
    if (flight && this.rules.isFlight(flight.position, position) && this.#trialOpen) {
      this.#trialOpen = false;
      this.machine.commitTrial();
      this.#landed(flight, entry);
      return;
    }
    // Before anything else is applied, the trial of an entry that lost its place must be gone.
    this.leftOffice();
    const standing = this.machine.standing();
    // Decoding checks the checksums; a bad one stops the replica like any other misfit.
    const content = entry.data.length > 0 ? decoded(entry.data) : undefined;
    const base = content?.base ?? { index: standing.index, term: standing.term };
    const changes = this.machine.apply({ position, base, content, configuration: entry.configuration });
    if (flight && this.rules.isFlight(flight.position, position)) {
      this.#landed(flight, entry);
      return;
    }
    this.#queue.shift();
    this.listener.applied(position, content, changes, entry);
    if (flight && flight.position.index === entry.index) {
      this.#flight = undefined;
      flight.lost();
    }
  }

  #landed(flight: Flight, entry: Entry): void {
    this.#queue.shift();
    this.#flight = undefined;
    this.listener.applied(flight.position, flight.content, flight.changes, entry);
    flight.landed();
  }
}

function decoded(data: Uint8Array): EntryContent {
  try {
    return decodeEntry(data);
  } catch (error) {
    throw new ReplicaStopped((error as Error).message, { cause: error });
  }
}
