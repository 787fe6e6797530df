/** The same run, killed at each of its effects in turn: before each send, write, sync, applied entry, chunk and install. */
import { describe, expect, it } from 'vitest';
import { drawRaftPlan, drawReplicaPlan, runRaftPlan, runReplicaPlan, type Fault, type Plan } from '#testkit/simulator';

const calm: Partial<Plan> = {
  members: 3,
  learners: 0,
  durationMs: 2_500,
  leases: false,
  hastyElections: false,
  rareCrash: 0,
  applyMs: 0,
  syncMs: 0.1,
  clients: 2,
  keys: 1,
  thinkMs: 50,
  compactEntries: 20,
  segmentBytes: 4_096,
  driftPercent: 0,
  network: { delayMs: 0.2, jitterMs: 0.5, lossPercent: 0, doublePercent: 0, doubleLateMs: 0, reorderPercent: 0 },
};

const deaths = (effects: number, power: boolean): Fault[] => [
  { atMs: 1_200, target: 'leader', kind: 'compact', hard: false },
  { atMs: 1_200, target: 'leader', kind: 'crash', effects, downMs: 40, power },
  { atMs: 1_900, target: 1, kind: 'crash', effects, downMs: 5, power },
];

describe('a member that dies at any effect', () => {
  for (const [what, power] of [
    ['with its machine', true],
    ['alone', false],
  ] as const) {
    for (const asyncDisk of [false, true]) {
      it(`loses nothing that was acknowledged, ${what}, ${asyncDisk ? 'with a disk that works beside' : 'with a disk that is waited for'}`, () => {
        for (let effects = 0; effects < 60; effects++) {
          const plan = { ...drawRaftPlan(7), ...calm, asyncDisk, faults: deaths(effects, power) };
          expect(runRaftPlan(plan).violation?.message, `at effect ${effects}`).toBeUndefined();
        }
      });
    }

    it(`loses nothing that was acknowledged, ${what}, as a whole engine that stands alone`, async () => {
      for (let effects = 0; effects < 25; effects++) {
        const plan = { ...drawReplicaPlan(7), ...calm, members: 1, durationMs: 2_200, faults: deaths(effects, power) };
        expect((await runReplicaPlan(plan)).violation?.message, `at effect ${effects}`).toBeUndefined();
      }
    });
  }
});

describe('a seed', () => {
  it('gives the same run again', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const once = runRaftPlan(drawRaftPlan(seed), { trace: true });
      const again = runRaftPlan(drawRaftPlan(seed), { trace: true });
      expect(again.trace).toEqual(once.trace);
      expect(again.counts).toEqual(once.counts);
    }
    const once = await runReplicaPlan(drawReplicaPlan(3), { trace: true });
    const again = await runReplicaPlan(drawReplicaPlan(3), { trace: true });
    expect(again.trace).toEqual(once.trace);
    expect(again.counts).toEqual(once.counts);
  });
});
