/** Of the configuration of consensus, what says who is what. */
export interface RaftMembers {
  readonly voters: readonly number[];
  readonly learners: readonly number[];
  readonly spares: readonly number[];
}

/** Roles that somebody may give; the database's own follow from consensus. */
export const givenRoles = ['event-hub', 'ovn-chassis'] as const;
const databaseRoles = ['database', 'database-leader', 'database-standby'];

export type RaftRole = 'voter' | 'learner' | 'spare';

export const isDatabaseRole = (role: string): boolean => databaseRoles.includes(role);

export function raftRole({ voters, learners, spares }: RaftMembers, id: number): RaftRole | undefined {
  if (voters.includes(id)) return 'voter';
  if (learners.includes(id)) return 'learner';
  return spares.includes(id) ? 'spare' : undefined;
}

/** As the API lists them: given ones first, then what the member is for the database. */
export function shownRoles(given: readonly string[], role: RaftRole | undefined, leads: boolean): string[] {
  return [...given, ...(leads ? ['database-leader'] : []), ...(role === 'voter' ? ['database'] : role === 'learner' ? ['database-standby'] : [])];
}

/** A member as its role is decided. */
export interface RoleCandidate {
  readonly id: number;
  readonly role: RaftRole;
  readonly alive: boolean;
  /** Its log is close to the leader's: it may vote at once. */
  readonly caughtUp: boolean;
  readonly evacuated: boolean;
  readonly failureDomain: string;
}

export interface RoleLimits {
  readonly voters: number;
  readonly standbys: number;
}

/**
 * The next change towards the right number of voters and standbys, or nothing. One at a time: each must be applied before the next is thought of.
 * A voter that is gone is replaced only when somebody can take its place, and is demoted in the same change; what lives is never demoted for
 * balance alone except when there are too many.
 */
export function nextRoles(members: readonly RoleCandidate[], leader: number, limits: RoleLimits): { id: number; role: RaftRole }[] {
  const voters = members.filter(({ role }) => role === 'voter');
  const dead = voters.filter(({ alive }) => !alive);
  const heir = bestHeir(members, voters);
  // An even number of voters bears no more losses than one less, but two are the way from one to three.
  if (voters.length < Math.min(limits.voters, members.length) && heir) return [{ id: heir.id, role: 'voter' }];
  if (dead.length > 0 && heir) {
    return [
      { id: heir.id, role: 'voter' },
      { id: dead[0]!.id, role: 'learner' },
    ];
  }
  if (voters.length > limits.voters) {
    const surplus = dead[0] ?? voters.findLast(({ id }) => id !== leader);
    if (surplus) return [{ id: surplus.id, role: 'learner' }];
  }
  return nextStandby(members, limits.standbys);
}

function nextStandby(members: readonly RoleCandidate[], wanted: number): { id: number; role: RaftRole }[] {
  const standbys = members.filter(({ role }) => role === 'learner');
  const spares = members.filter(({ role, alive, evacuated }) => role === 'spare' && alive && !evacuated);
  if (standbys.length < wanted && spares[0]) return [{ id: spares[0].id, role: 'learner' }];
  const gone = standbys.find(({ alive }) => !alive);
  if (gone && (spares[0] || standbys.length > wanted)) return [{ id: gone.id, role: 'spare' }];
  return standbys.length > wanted ? [{ id: standbys.at(-1)!.id, role: 'spare' }] : [];
}

/** Alive, with a log that is near, first from failure domains that have no living voter yet, standbys before spares. */
function bestHeir(members: readonly RoleCandidate[], voters: readonly RoleCandidate[]): RoleCandidate | undefined {
  const domains = new Set(voters.filter(({ alive }) => alive).map(({ failureDomain }) => failureDomain));
  const worth = ({ failureDomain, role }: RoleCandidate): number => (domains.has(failureDomain) ? 2 : 0) + (role === 'learner' ? 0 : 1);
  const able = members.filter(({ role, alive, caughtUp, evacuated }) => role !== 'voter' && alive && caughtUp && !evacuated);
  return able.sort((a, b) => worth(a) - worth(b) || a.id - b.id)[0];
}
