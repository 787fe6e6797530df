/**
 * Makes a failing run short: takes troubles, strengths, members and time out of its plan, and keeps what still breaks the same rule. A plan is run
 * again for every attempt, which costs about what a seed costs.
 */
import type { Outcome } from './raft-simulation.js';
import type { Plan } from './plan.js';

/** At most `runsMax` runs. The plan that comes back fails with the same rule as `plan` does. */
export async function shrink(plan: Plan, run: (plan: Plan) => Outcome | Promise<Outcome>, runsMax = 400): Promise<Plan> {
  const { violation, ranMs: endMs } = await run(plan);
  if (!violation) return plan;
  const { rule } = violation;
  let best = plan;
  let runs = 0;
  const fails = async (candidate: Plan): Promise<boolean> => {
    if (runs >= runsMax) return false;
    runs++;
    if ((await run(candidate)).violation?.rule !== rule) return false;
    best = candidate;
    return true;
  };

  if (endMs < plan.durationMs) await fails({ ...best, durationMs: Math.ceil(endMs) + 1, faults: best.faults.filter(({ atMs }) => atMs <= endMs) });
  // Large pieces first, then one by one.
  for (let size = best.faults.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.faults.length;) {
      const faults = [...best.faults.slice(0, at), ...best.faults.slice(at + size)];
      if (!(await fails({ ...best, faults }))) at += size;
    }
  }
  const calm = { lossPercent: 0, doublePercent: 0, reorderPercent: 0 } as const;
  for (const name of ['lossPercent', 'doublePercent', 'reorderPercent'] as const)
    await fails({ ...best, network: { ...best.network, [name]: calm[name] } });
  await fails({ ...best, network: { ...best.network, jitterMs: 0.2 } });
  const simpler: Partial<Plan>[] = [
    { driftPercent: 0 },
    { rareCrash: 0 },
    { hastyElections: false },
    { installMs: 0 },
    { leases: false },
    { asyncDisk: false },
    { applyMs: 0 },
    { syncMs: 0.1 },
    { snapshotBytes: 0 },
    { compactEntries: 1_000_000 },
    { segmentBytes: 32_768 },
    { learners: 0 },
    { keys: 1 },
    { clients: 1 },
    { clients: 2 },
    { thinkMs: 200 },
    { members: 3 },
  ];
  for (const change of simpler)
    if (Object.entries(change).some(([name, value]) => best[name as keyof Plan] !== value)) await fails({ ...best, ...change });
  for (let durationMs = best.durationMs; durationMs > 100; durationMs = Math.floor(durationMs * 0.7))
    if (!(await fails({ ...best, durationMs }))) break;
  return best;
}
