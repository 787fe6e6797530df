import { fault } from '#kit';
import { feasible } from '../feasible/feasible.js';
import type { Candidate, Placement, Refusal } from '../feasible/placement.js';
import { fewestInstances } from '../rank/fewest-instances.score.js';

export interface Placed {
  member: string;
  /** Why it was none of these: told by a dry-run. */
  refusals: Refusal[];
}

/**
 * Chooses the member for an instance.
 * @throws Fault invalid when none can have it; its metadata names each refusal
 */
export function place(placement: Placement, candidates: readonly Candidate[]): Placed {
  const { able, refusals } = feasible(placement, candidates);
  const [best] = [...able].sort(fewestInstances);
  if (best) return { member: best.name, refusals };
  const sentences = refusals.map(({ reason }) => reason).join('; ');
  throw fault.invalid(`No suitable cluster member could be found${sentences ? `: ${sentences}` : ''}`, { metadata: { refusals } });
}
