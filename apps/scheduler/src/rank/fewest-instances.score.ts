import type { Candidate } from '../feasible/placement.js';

/** As LXD: the member with the fewest instances; of equals the first by name, so that the answer is the same wherever it is asked. */
export function fewestInstances(a: Candidate, b: Candidate): number {
  return a.instances - b.instances || (a.name < b.name ? -1 : 1);
}
