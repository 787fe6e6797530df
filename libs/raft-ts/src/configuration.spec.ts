import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Configurations, changed, isJoint, isRemoved, isSoleVoter, membersOf, noConfiguration } from './configuration.js';
import type { Configuration, MemberRole } from './types.js';

const of = (voters: number[], more: Partial<Configuration> = {}): Configuration => ({ ...noConfiguration, voters, ...more });
const done = (result: ReturnType<typeof changed>): Configuration => {
  if ('why' in result) throw new Error(result.why);
  return result;
};

describe('a change', () => {
  it('of one voter is made in one step', () => {
    expect(changed(of([1, 2]), { members: [{ id: 3, role: 'voter' }] })).toEqual(of([1, 2, 3]));
    expect(changed(of([1, 2, 3]), { members: [{ id: 2, role: 'learner' }] })).toEqual(of([1, 3], { learners: [2] }));
  });

  it('of more voters goes through a joint configuration', () => {
    const joint = done(
      changed(of([1, 2, 3]), {
        members: [
          { id: 4, role: 'voter' },
          { id: 1, role: 'removed' },
        ],
      }),
    );
    expect(joint).toEqual(of([2, 3, 4], { outgoing: [1, 2, 3], removed: [1] }));
    expect(changed(joint, { leaveJoint: true })).toEqual(of([2, 3, 4], { removed: [1] }));
  });

  it('goes through a joint configuration when told to', () => {
    expect(isJoint(done(changed(of([1]), { members: [{ id: 2, role: 'spare' }], joint: true })))).toBe(true);
  });

  it('keeps a demoted voter in both places until the joint configuration is left', () => {
    const joint = done(
      changed(of([1, 2, 3]), {
        members: [
          { id: 3, role: 'spare' },
          { id: 2, role: 'learner' },
        ],
      }),
    );
    expect(joint).toEqual(of([1], { outgoing: [1, 2, 3], learners: [2], spares: [3] }));
  });

  it.each([
    ['an id that was removed', of([1], { removed: [2] }), [{ id: 2, role: 'learner' as MemberRole }], 'never used again'],
    ['a cluster without voters', of([1]), [{ id: 1, role: 'removed' as MemberRole }], 'nobody would be left'],
    ['an id that is none', of([1]), [{ id: 0, role: 'voter' as MemberRole }], 'not a member id'],
    ['an id beyond 32 bits', of([1]), [{ id: 2 ** 32, role: 'voter' as MemberRole }], 'not a member id'],
    ['a second change while joint', of([1], { outgoing: [1, 2] }), [{ id: 3, role: 'learner' as MemberRole }], 'joint'],
    ['an earlier incarnation', of([1, 2], { incarnations: { 2: 3 } }), [{ id: 2, role: 'learner' as MemberRole, incarnation: 2 }], 'incarnation 3'],
    ['a voter under a new incarnation', of([1, 2]), [{ id: 2, role: 'voter' as MemberRole, incarnation: 1 }], 'begins as a learner'],
  ])('refuses %s', (_what, from, members, why) => {
    expect(changed(from, { members })).toEqual({ why: expect.stringContaining(why) });
  });

  it('refuses to leave what is not joint', () => {
    expect(changed(of([1]), { leaveJoint: true })).toEqual({ why: 'the configuration is not joint' });
  });

  it('keeps every pair of majorities, before and after, in touch', () => {
    const role = fc.constantFrom<MemberRole>('voter', 'learner', 'spare', 'removed');
    const changes = fc.array(fc.array(fc.record({ id: fc.integer({ min: 1, max: 7 }), role }), { minLength: 1, maxLength: 4 }), { maxLength: 8 });
    const majoritiesOf = (c: Configuration) => (isJoint(c) ? [c.voters, c.outgoing] : [c.voters]);
    /** All sets of members that could decide something under this configuration. */
    const quorums = (c: Configuration): Set<number>[] => {
      const all = membersOf(c);
      const found: Set<number>[] = [];
      for (let mask = 1; mask < 1 << all.length; mask++) {
        const set = new Set(all.filter((_, i) => mask & (1 << i)));
        if (majoritiesOf(c).every((group) => group.filter((id) => set.has(id)).length > group.length / 2)) found.push(set);
      }
      return found;
    };
    fc.assert(
      fc.property(changes, (list) => {
        let now = of([1, 2, 3]);
        for (const members of list) {
          const next = isJoint(now) ? changed(now, { leaveJoint: true }) : changed(now, { members });
          if ('why' in next) continue;
          const after = quorums(next);
          for (const a of quorums(now)) for (const b of after) expect([...a].some((id) => b.has(id))).toBe(true);
          const lists = [...next.voters, ...next.learners, ...next.spares];
          expect(new Set(lists).size).toBe(lists.length);
          now = next;
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('who is what', () => {
  it('calls removed only who is not needed any more to leave the joint configuration', () => {
    const joint = of([1], { outgoing: [1, 2], removed: [2] });
    expect(isRemoved(joint, 2)).toBe(false);
    expect(isRemoved(done(changed(joint, { leaveJoint: true })), 2)).toBe(true);
  });

  it('knows a sole voter, joint with itself or not', () => {
    expect(isSoleVoter(of([1]), 1)).toBe(true);
    expect(isSoleVoter(of([1], { outgoing: [1] }), 1)).toBe(true);
    expect(isSoleVoter(of([1], { outgoing: [1, 2] }), 1)).toBe(false);
    expect(isSoleVoter(of([2]), 1)).toBe(false);
    expect(isSoleVoter(noConfiguration, 1)).toBe(false);
  });
});

describe('configurations', () => {
  it('are in force when appended, and undone by truncation', () => {
    const all = new Configurations(0, of([1]));
    all.append(3, of([1, 2]));
    all.append(5, of([1, 2, 3]));
    expect(all.inForce).toEqual(of([1, 2, 3]));
    expect(all.truncateFrom(6)).toBe(false);
    expect(all.truncateFrom(4)).toBe(true);
    expect([all.inForce, all.inForceIndex]).toEqual([of([1, 2]), 3]);
    expect(all.applied).toEqual(of([1]));
  });

  it('are beyond undoing once applied', () => {
    const all = new Configurations(0, of([1]));
    all.append(3, of([1, 2]));
    all.appliedTo(2);
    expect(all.applied).toEqual(of([1]));
    all.appliedTo(3);
    expect(all.applied).toEqual(of([1, 2]));
    all.truncateFrom(1);
    expect(all.inForce).toEqual(of([1, 2]));
  });

  it('need a voter of a configuration whose successor is not committed', () => {
    const all = new Configurations(0, of([1, 2]));
    all.append(3, of([2]));
    expect(all.mayNeed(1, 2)).toBe(true);
    expect(all.mayNeed(1, 3)).toBe(false);
    expect(all.mayNeed(2, 3)).toBe(true);
    expect(all.mayNeed(9, 0)).toBe(false);
  });

  it('take from a snapshot what the log did not tell, and keep what comes later', () => {
    const all = new Configurations(0, of([1]));
    all.append(9, of([1, 2, 3]));
    all.rebase(5, of([1, 2]));
    expect([all.applied, all.inForce]).toEqual([of([1, 2]), of([1, 2, 3])]);
    // A snapshot from before what is applied tells nothing new.
    all.appliedTo(9);
    all.rebase(6, of([1, 2]));
    expect(all.applied).toEqual(of([1, 2, 3]));
  });
});
