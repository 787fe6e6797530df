import { type Members, PlacementSchedulerService } from '#members';
import type { Candidate } from './feasible/placement.js';
import { place } from './plan/place.js';

/** Offers placement to the gateways. */
export class PlacementService {
  constructor(members: Members, candidates: () => Promise<Candidate[]>) {
    members.serve(PlacementSchedulerService, {
      place: async ({ target, architecture, pools, networks }) =>
        place({ target: target || undefined, architecture: architecture || undefined, pools, networks }, await candidates()),
    });
  }
}
