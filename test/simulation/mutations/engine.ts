/** Rules of the engine, each broken in one way that somebody might break it in; found with the whole engine on SQLite. */
import type { Disk, EngineTests } from '#replica/engine';
import type { Fault, Plan } from '#testkit/simulator';
import { hasty } from './hasty-disk.js';

export interface EngineMutation {
  readonly tests?: EngineTests;
  readonly disk?: (disk: Disk) => Disk;
  /** What its seeds are made to have, where the rule is of use in few runs only. */
  readonly focus?: Partial<Plan>;
}

const every = (periodMs: number, fault: (atMs: number) => Fault): Fault[] => Array.from({ length: 6 }, (_, n) => fault(300 + n * periodMs));

/** The leader is cut off with what it has in flight, again and again. */
const deposed: Partial<Plan> = {
  members: 3,
  learners: 0,
  durationMs: 6_000,
  thinkMs: 10,
  clients: 5,
  faults: every(1_000, (atMs) => ({ atMs, target: 'leader', kind: 'cut', forMs: 850, way: 'both', others: 255 })),
};

/** Power is lost while the log is compacted, at one effect or another. */
const compacted: Partial<Plan> = {
  members: 1,
  learners: 0,
  durationMs: 4_000,
  clients: 2,
  thinkMs: 20,
  segmentBytes: 8_192,
  faults: every(600, (atMs) => ({ atMs, target: 0, kind: 'crash', effects: (atMs / 300) % 7, downMs: 20, power: true })).flatMap((fault) => [
    fault,
    { atMs: fault.atMs, target: 0, kind: 'compact', hard: false },
  ]),
};

export const engineMutations: Readonly<Record<string, EngineMutation>> = {
  'a sync of the log that does not wait': { disk: hasty },
  'compact by the applied index': { tests: { rules: { compactUpTo: (_makeDurable, applied) => applied } }, focus: compacted },
  'settle a waiter by index': { tests: { rules: { isFlight: (flight, entry) => flight.index === entry.index } }, focus: deposed },
  'run a submit again that was applied': { tests: { rules: { findsEarlier: () => false } }, focus: deposed },
  'answer a refusal before it is proven': { tests: { rules: { answersWait: () => false } }, focus: deposed },
  'a read skips the round': { tests: { raft: { readNeedsRound: () => false } }, focus: deposed },
};
