import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Chaos, type Strength } from './testing/chaos.js';

const strength = fc.record<Strength>({
  lossPercent: fc.constantFrom(0, 2, 20),
  doublePercent: fc.constantFrom(0, 10),
  crashes: fc.constantFrom(0, 2, 20),
  cuts: fc.constantFrom(0, 1, 4),
  changes: fc.constantFrom(0, 10, 60),
  transfers: fc.constantFrom(0, 10),
  compactions: fc.constantFrom(0, 10, 40),
  pauses: fc.constantFrom(0, 3),
  slowDisks: fc.boolean(),
  leases: fc.boolean(),
});

const runs = Number(process.env['RAFT_CHAOS_RUNS'] ?? 150);
const seed = Number(process.env['RAFT_CHAOS_SEED'] ?? 1);

describe('under chaos', () => {
  it('keeps every promise of Raft, and agrees once there is peace', { timeout: 600_000 }, () => {
    const total: Record<string, number> = {};
    fc.assert(
      fc.property(fc.nat(1 << 30), strength, fc.integer({ min: 100, max: 4_000 }), (chaosSeed, how, steps) => {
        const chaos = new Chaos(chaosSeed, how);
        chaos.play(steps);
        for (const [key, value] of Object.entries(chaos.stats)) total[key] = (total[key] ?? 0) + value;
      }),
      { numRuns: runs, seed, endOnFailure: process.env['RAFT_CHAOS_SHRINK'] === undefined },
    );
    // A run in which little happens proves little.
    for (const key of ['proposed', 'applied', 'reads', 'elections', 'snapshots', 'changes', 'transfers'])
      expect(total[key], key).toBeGreaterThan(runs / 5);
    if (process.env['RAFT_CHAOS_RUNS']) console.log(total);
  });
});
