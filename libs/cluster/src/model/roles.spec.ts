import { describe, expect, it } from 'vitest';
import { nextRoles, shownRoles, type RoleCandidate } from './roles.js';

const limits = { voters: 3, standbys: 2 };
const member = (id: number, more: Partial<RoleCandidate> = {}): RoleCandidate => ({
  id,
  role: 'voter',
  alive: true,
  caughtUp: true,
  evacuated: false,
  failureDomain: 'default',
  ...more,
});
const learner = { role: 'learner' } as const;
const spare = { role: 'spare' } as const;

/** All changes until nothing is left to do. */
function settled(members: RoleCandidate[]): string {
  const now = new Map(members.map((one) => [one.id, one]));
  for (let n = 0; n < 50; n += 1) {
    const changes = nextRoles([...now.values()], 1, limits);
    if (changes.length === 0) return [...now.values()].map(({ role }) => role[0]).join('');
    for (const { id, role } of changes) now.set(id, { ...now.get(id)!, role });
  }
  throw new Error('it never settles');
}

describe('database roles', () => {
  it('give three a vote, two stand by, and the rest are spare', () => {
    expect(settled([member(1), ...[2, 3, 4, 5, 6, 7].map((id) => member(id, learner))])).toBe('vvvllss');
  });

  it('give both of two a vote', () => expect(settled([member(1), member(2, learner)])).toBe('vv'));

  it('wait for one that has not caught up', () => {
    expect(nextRoles([member(1), member(2, { ...learner, caughtUp: false })], 1, limits)).toEqual([]);
  });

  it('replace a dead voter in one change, and only by somebody who lives', () => {
    const dead = member(3, { alive: false });
    expect(nextRoles([member(1), member(2), dead, member(4, learner)], 1, limits)).toEqual([
      { id: 4, role: 'voter' },
      { id: 3, role: 'learner' },
    ]);
    expect(nextRoles([member(1), member(2), dead, member(4, { ...learner, alive: false })], 1, limits)).toEqual([]);
    expect(nextRoles([member(1), member(2), dead], 1, limits)).toEqual([]);
  });

  it('prefer a failure domain that has no vote yet, and pass over who is evacuated', () => {
    const members = [member(1, { failureDomain: 'a' }), member(2, { failureDomain: 'a' })];
    const [near, far] = [member(3, { ...learner, failureDomain: 'a' }), member(4, { ...spare, failureDomain: 'b' })];
    expect(nextRoles([...members, near, far], 1, limits)).toEqual([{ id: 4, role: 'voter' }]);
    expect(nextRoles([...members, near, { ...far, evacuated: true }], 1, limits)).toEqual([{ id: 3, role: 'voter' }]);
  });

  it('never take the vote of the leader when there are too many', () => {
    expect(
      nextRoles(
        [1, 2, 3, 4].map((id) => member(id)),
        4,
        limits,
      ),
    ).toEqual([{ id: 3, role: 'learner' }]);
  });

  it('show as LXD names them', () => {
    expect(shownRoles(['event-hub'], 'voter', true)).toEqual(['event-hub', 'database-leader', 'database']);
    expect([shownRoles([], 'learner', false), shownRoles([], 'spare', false)]).toEqual([['database-standby'], []]);
  });
});
