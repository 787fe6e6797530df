import { architectureCheck } from './architecture.check.js';
import { networkCheck } from './network.check.js';
import { onlineCheck } from './online.check.js';
import type { Candidate, Placement, Refusal } from './placement.js';
import { poolCheck } from './pool.check.js';
import { targetCheck } from './target.check.js';

/** In this order: the first refusal of a member is the one that is told. */
const checks = [targetCheck, onlineCheck, architectureCheck, poolCheck, networkCheck];

/** Who could have it, and why the others could not. */
export function feasible(placement: Placement, candidates: readonly Candidate[]): { able: Candidate[]; refusals: Refusal[] } {
  const able: Candidate[] = [];
  const refusals: Refusal[] = [];
  for (const candidate of candidates) {
    const refusal = firstRefusal(placement, candidate);
    if (refusal) refusals.push(refusal);
    else able.push(candidate);
  }
  return { able, refusals };
}

function firstRefusal(placement: Placement, candidate: Candidate): Refusal | undefined {
  for (const { name, refuses } of checks) {
    const reason = refuses(placement, candidate);
    if (reason !== undefined) return { member: candidate.name, check: name, reason };
  }
  return undefined;
}
