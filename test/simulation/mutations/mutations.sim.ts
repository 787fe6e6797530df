import { afterAll, describe, expect, it } from 'vitest';
import { drawRaftPlan, drawReplicaPlan, runRaftPlan, runReplicaPlan, type Violation } from '#testkit/simulator';
import { engineMutations } from './engine.js';
import { raftMutations } from './raft.js';

/** Twice and more what the hardest one takes; most take fewer than twenty. */
const SEEDS_MAX = 800;

const table: string[] = [];

async function found(name: string, run: (seed: number) => Violation | undefined | Promise<Violation | undefined>): Promise<void> {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const violation = await run(seed);
    if (!violation) continue;
    table.push(`${String(seed).padStart(4)}  ${name}: ${violation.rule}`);
    return;
  }
  expect.fail(`${name} was not noticed in ${SEEDS_MAX} seeds`);
}

describe('a simulator that would find the bug', () => {
  afterAll(() => console.log(`seeds it took:\n${table.join('\n')}`));

  it.each(Object.entries(raftMutations))('notices, of raft-ts, its log and its host: %s', async (name, mutation) => {
    await found(name, (seed) => runRaftPlan({ ...drawRaftPlan(seed), ...mutation.focus }, { mutation }).violation);
  });

  it.each(Object.entries(engineMutations))('notices, of the engine: %s', async (name, { tests = {}, disk, focus }) => {
    await found(name, async (seed) => (await runReplicaPlan({ ...drawReplicaPlan(seed), ...focus }, { tests, ...(disk && { disk }) })).violation);
  });

  it('has thirty and more', () => expect(Object.keys(raftMutations).length + Object.keys(engineMutations).length).toBeGreaterThanOrEqual(30));
});
