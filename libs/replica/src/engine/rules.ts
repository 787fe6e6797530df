import type { Position, Rules } from '#raft-ts';
import type { LogOptions } from '../log/log.js';

/**
 * The rules on which the engine's promises rest, each a function of plain values, gathered so that a simulator can break one at a time
 * (EngineOptions.forTests) and prove that it notices. raft-ts and the log have theirs. @see engine.md
 */
export const engineRules = {
  /** A changeset is true only on the state it was captured on. `found`: the replica stands at the entry's base. */
  baseFits: (found: boolean): boolean => found,

  /** Of another schema SQLite drops what it does not know, and calls it applied. */
  schemaFits: (entrySchema: number, ownSchema: number): boolean => entrySchema === ownSchema,

  /** An entry is the one under way only if its term is that one's too: its place alone may have gone to another leader's. */
  isFlight: (flight: Position, entry: Position): boolean => flight.index === entry.index && flight.term === entry.term,

  /** A submit that was applied already is answered from the table, and not run again. */
  findsEarlier: (): boolean => true,

  /** What was captured and is not written is a read: it is told only when the batch is committed, or the office proven after the capture. */
  answersWait: (): boolean => true,

  /** A submit counts for the term it is addressed to: its sender may have asked a later leader since. */
  servesTerm: (addressed: number, own: number): boolean => addressed === own,

  /** A capture is true only if nothing lies between it and its place, and the replica has an entry of this leader's own term. */
  mayCapture: (standing: Position, place: Position): boolean => standing.index === place.index - 1 && standing.term === place.term,

  /** Only what the database holds durably may leave the log, so it is made durable first. */
  compactUpTo: (makeDurable: () => number, _applied: number): number => makeDurable(),
};

export type EngineRules = Readonly<typeof engineRules>;

/** What tests may change of an engine's inside. */
export interface EngineTests {
  readonly rules?: Partial<EngineRules>;
  readonly raft?: Partial<Rules>;
  readonly log?: LogOptions;
}
