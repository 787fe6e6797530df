/**
 * What one seed draws before its run begins: how many members, which troubles, how strong and when. A run is a pure function of its plan, so a
 * failing one is shrunk by taking things out of the plan, and a plan is all that must be written down to see it again.
 *
 * Swarm testing: each seed leaves most kinds of trouble out. A run with all of them at once seldom gets far enough to show what two of them do.
 */
import type { NetworkStrength } from './network.js';
import { Random } from './random.js';

/** Whom a fault strikes: the present leader, or the n-th member that lives (modulo). */
export type Target = 'leader' | number;

export type Fault = { readonly atMs: number; readonly target: Target } & (
  | {
      readonly kind: 'crash';
      /** After so many effects from that time on. */ readonly effects: number;
      readonly downMs: number;
      readonly power: boolean;
    }
  | { readonly kind: 'pause'; readonly forMs: number; readonly clockStands: boolean }
  | {
      readonly kind: 'cut';
      readonly forMs: number;
      readonly way: 'both' | 'in' | 'out';
      /** Bit n: the n-th other member. */ readonly others: number;
    }
  | { readonly kind: 'slow-link'; readonly forMs: number; readonly delayMs: number; readonly way: 'both' | 'in' | 'out'; readonly others: number }
  | { readonly kind: 'slow-disk'; readonly forMs: number; readonly syncMs: number }
  | { readonly kind: 'hung-disk'; readonly forMs: number }
  | { readonly kind: 'full-disk'; readonly forMs: number }
  | { readonly kind: 'disk-error'; readonly call: 'read' | 'write' | 'sync'; readonly downMs: number }
  | { readonly kind: 'rot' }
  | { readonly kind: 'put-back'; readonly forMs: number }
  | { readonly kind: 'drift'; readonly rate: number }
  | { readonly kind: 'jump'; readonly ms: number }
  | { readonly kind: 'transfer' }
  | { readonly kind: 'change'; readonly dice: readonly number[]; readonly joint: boolean }
  | { readonly kind: 'compact'; readonly hard: boolean }
  | { readonly kind: 'demote'; /** An older build: it may vote and acknowledge, not lead. */ readonly forMs: number }
  /** Its state machine stops: only a snapshot can help. */
  | { readonly kind: 'sick' }
  | { readonly kind: 'rush'; /** Clients do not rest. */ readonly forMs: number }
);

export type FaultKind = Fault['kind'];

export interface Plan {
  readonly seed: number;
  readonly profile: string;
  readonly members: number;
  /** Members that begin as learners, beside the voters. */
  readonly learners: number;
  readonly durationMs: number;
  readonly leases: boolean;
  /** Readys are taken while earlier ones are still being written. */
  readonly asyncDisk: boolean;
  /** Applying an entry takes so long. */
  readonly applyMs: number;
  readonly syncMs: number;
  readonly segmentBytes: number;
  readonly snapshotBytes: number;
  /** Putting a snapshot in the place of the state machine takes so long. */
  readonly installMs: number;
  /** Of entries in one append. */
  readonly appendBytes: number;
  readonly chunkBytes: number;
  /** Whoever hears no leader stands for election long before its promise ends, and is held back by that alone. */
  readonly hastyElections: boolean;
  /** The log is compacted when it has so many entries. */
  readonly compactEntries: number;
  readonly clients: number;
  readonly keys: number;
  readonly thinkMs: number;
  readonly network: NetworkStrength;
  /** Largest difference of a clock's speed from the true one. */
  readonly driftPercent: number;
  /** How likely a member is to die within a few effects of something rare: an election won, a snapshot installed, a compaction, a changed configuration. */
  readonly rareCrash: number;
  readonly faults: readonly Fault[];
}

/** How often of a thousand faults each kind comes, if the seed has it at all. */
const weights: Readonly<Record<FaultKind, number>> = {
  crash: 10,
  pause: 4,
  cut: 8,
  'slow-link': 4,
  'slow-disk': 3,
  'hung-disk': 2,
  'full-disk': 2,
  'disk-error': 2,
  rot: 1,
  'put-back': 1,
  drift: 2,
  jump: 2,
  transfer: 6,
  change: 8,
  compact: 6,
  demote: 2,
  sick: 2,
  rush: 3,
};

export const faultKinds = Object.keys(weights) as readonly FaultKind[];

export function drawRaftPlan(seed: number): Plan {
  const random = new Random(`plan ${seed}`);
  const members = random.pick([1, 2, 3, 3, 3, 3, 4, 5, 5]);
  const durationMs = random.pick([3_000, 6_000, 10_000, 15_000]);
  return {
    seed,
    profile: 'raft',
    members,
    learners: random.pick([0, 0, 0, 1, 2]),
    durationMs,
    leases: random.chance(0.4),
    asyncDisk: random.chance(0.5),
    applyMs: random.pick([0, 0, 0.5, 5, 40]),
    syncMs: random.pick([0.1, 0.1, 1, 5, 20]),
    segmentBytes: random.pick([2_048, 8_192, 32_768]),
    snapshotBytes: random.pick([0, 200, 3_000]),
    installMs: random.pick([0, 30, 300]),
    appendBytes: random.pick([100, 500, 500, 4_000]),
    chunkBytes: random.pick([200, 4_000]),
    hastyElections: random.chance(0.3),
    compactEntries: random.pick([8, 8, 40, 200, 1_000_000]),
    clients: random.pick([2, 3, 4, 6]),
    keys: random.pick([1, 1, 2, 4]),
    thinkMs: random.pick([5, 20, 50, 200]),
    network: {
      delayMs: random.pick([0.1, 0.5, 5, 30]),
      jitterMs: random.pick([0.2, 2, 20, 100]),
      lossPercent: random.pick([0, 0, 1, 10, 25]),
      doublePercent: random.pick([0, 0, 5, 20]),
      doubleLateMs: random.pick([0, 0, 50, 2_000]),
      reorderPercent: random.pick([0, 0, 5, 30]),
    },
    driftPercent: random.pick([0, 0, 1, 8]),
    rareCrash: random.pick([0, 0, 0.05, 0.4]),
    faults: drawFaults(random.fork('faults'), durationMs, faultKinds),
  };
}

/** Engines cost a hundred times what a toy does: fewer members, shorter runs. */
export function drawReplicaPlan(seed: number): Plan {
  const random = new Random(`replica plan ${seed}`);
  const members = random.pick([1, 1, 3, 3, 3]);
  const durationMs = random.pick([2_000, 4_000, 6_000]);
  const kinds: readonly FaultKind[] = [
    'crash',
    'pause',
    'cut',
    'slow-link',
    'slow-disk',
    'full-disk',
    'disk-error',
    'drift',
    'jump',
    'transfer',
    'change',
    'compact',
    'rush',
  ];
  return {
    ...drawRaftPlan(seed),
    profile: 'replica',
    members,
    learners: members === 3 ? random.pick([0, 0, 1]) : 0,
    durationMs,
    segmentBytes: random.pick([8_192, 65_536]),
    clients: random.pick([2, 3, 5]),
    keys: random.pick([1, 2, 3]),
    thinkMs: random.pick([10, 40, 100]),
    faults: drawFaults(random.fork('faults'), durationMs, kinds),
  };
}

/** Draws which of `kinds` this seed has, and when. */
export function drawFaults(random: Random, durationMs: number, kinds: readonly FaultKind[]): Fault[] {
  const chosen = kinds.filter(() => random.chance(0.4));
  if (chosen.length === 0) return [];
  const total = chosen.reduce((sum, kind) => sum + weights[kind], 0);
  const count = Math.ceil((durationMs / 1_000) * random.pick([0.3, 1, 2, 4]));
  // Most of what is hard comes of two troubles at about the same time, often of the same member.
  const moments = Array.from({ length: Math.ceil(count / 4) }, () => ({ atMs: random.below(durationMs), target: drawTarget(random) }));
  const bursts = random.chance(0.6);
  const faults: Fault[] = [];
  for (let n = 0; n < count; n++) {
    let roll = random.below(total);
    const kind = chosen.find((candidate) => (roll -= weights[candidate]) < 0) as FaultKind;
    const moment = random.pick(moments);
    const atMs = bursts ? Math.floor(moment.atMs + random.skewed(0, 600)) : random.below(durationMs);
    const target = bursts && random.chance(0.6) ? moment.target : drawTarget(random);
    faults.push(drawFault(random, kind, { atMs, target }));
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}

const drawTarget = (random: Random): Target => (random.chance(0.4) ? 'leader' : random.below(16));

function drawFault(random: Random, kind: FaultKind, base: { readonly atMs: number; readonly target: Target }): Fault {
  const forMs = Math.floor(random.skewed(20, 4_000));
  const downMs = Math.floor(random.chance(0.5) ? random.between(0, 100) : random.skewed(100, 3_000));
  const others = random.chance(0.5) ? 0xff : random.below(256);
  switch (kind) {
    case 'crash':
      return { ...base, kind, effects: random.below(16), downMs, power: random.chance(0.7) };
    case 'pause':
      return { ...base, kind, forMs, clockStands: random.chance(0.5) };
    case 'cut':
      return { ...base, kind, forMs, way: random.pick(['both', 'both', 'in', 'out']), others };
    case 'slow-link':
      return { ...base, kind, forMs, delayMs: Math.floor(random.between(20, 1_500)), way: random.pick(['both', 'both', 'in', 'out']), others };
    case 'slow-disk':
      return { ...base, kind, forMs, syncMs: Math.floor(random.skewed(5, 500)) };
    case 'hung-disk':
    case 'full-disk':
    case 'put-back':
    case 'demote':
    case 'rush':
      return { ...base, kind, forMs };
    case 'disk-error':
      return { ...base, kind, call: random.pick(['read', 'write', 'sync', 'sync']), downMs };
    case 'drift':
      return { ...base, kind, rate: random.between(0.9, 1.1) };
    case 'jump':
      return { ...base, kind, ms: Math.floor(random.between(-5_000, 5_000)) };
    case 'change':
      return { ...base, kind, dice: Array.from({ length: 10 }, () => random.next()), joint: random.chance(0.6) };
    case 'compact':
      return { ...base, kind, hard: random.chance(0.3) };
    default:
      return { ...base, kind };
  }
}
