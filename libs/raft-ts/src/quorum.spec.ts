import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outcome, reachedByAll } from './quorum.js';

const groups = fc.array(fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 7 }), { minLength: 1, maxLength: 2 });

describe('reachedByAll', () => {
  it('is the highest value that a majority of every group has reached', () => {
    fc.assert(
      fc.property(groups, fc.array(fc.nat(20), { minLength: 10, maxLength: 10 }), (majorities, values) => {
        const valueOf = (id: number) => values[id]!;
        const reached = reachedByAll(majorities, valueOf);
        const has = (value: number) => majorities.every((group) => group.filter((id) => valueOf(id) >= value).length > group.length / 2);
        expect(has(reached)).toBe(true);
        expect(has(reached + 1)).toBe(false);
      }),
    );
  });

  it('lets an empty group agree to nothing', () => {
    expect(reachedByAll([[]], () => 5)).toBe(-1);
    expect(reachedByAll([], () => 5)).toBe(-1);
    expect(reachedByAll([[1], []], () => 5)).toBe(-1);
  });
});

describe('outcome', () => {
  it('is won by a majority of yes in every group, lost when that cannot be reached any more, and open otherwise', () => {
    const vote = fc.option(fc.boolean(), { nil: undefined });
    fc.assert(
      fc.property(groups, fc.array(vote, { minLength: 10, maxLength: 10 }), (majorities, given) => {
        const votes = new Map(given.flatMap((v, id) => (v === undefined ? [] : [[id, v] as const])));
        const yes = (ifOpen: boolean) => majorities.every((group) => group.filter((id) => votes.get(id) ?? ifOpen).length > group.length / 2);
        expect(outcome(majorities, votes)).toBe(yes(false) ? 'won' : yes(true) ? 'open' : 'lost');
      }),
    );
  });

  it('is lost by nobody and won by nobody where there are no voters', () => {
    expect(outcome([[]], new Map())).toBe('lost');
  });
});
