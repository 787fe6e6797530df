import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLinearizable, violatedKeys, type Operation, type RegisterAction } from './linearizability.js';

const op = (calledMs: number, returnedMs: number, action: RegisterAction, key = 0): Operation => ({ key, calledMs, returnedMs, action });
const write = (value: number): RegisterAction => ({ kind: 'write', value });
const read = (value: number): RegisterAction => ({ kind: 'read', value });
const swap = (expected: number, value: number, done: boolean, found?: number): RegisterAction => ({ kind: 'swap', expected, value, done, found });

describe('linearizability of a register', () => {
  it('accepts what one after the other gives', () => {
    expect(isLinearizable([op(0, 1, write(1)), op(2, 3, read(1)), op(4, 5, swap(1, 2, true)), op(6, 7, read(2))])).toBe(true);
    expect(isLinearizable([])).toBe(true);
  });

  it('refuses a read of what was overwritten before it began', () => {
    expect(isLinearizable([op(0, 1, write(1)), op(2, 3, write(2)), op(4, 5, read(1))])).toBe(false);
  });

  it('refuses a read of what nobody wrote', () => expect(isLinearizable([op(0, 1, read(7))])).toBe(false));

  it('lets concurrent operations fall either way, but both see the same', () => {
    const both = [op(0, 10, write(1)), op(0, 10, write(2))];
    expect(isLinearizable([...both, op(11, 12, read(1))])).toBe(true);
    expect(isLinearizable([...both, op(11, 12, read(2))])).toBe(true);
    expect(isLinearizable([...both, op(11, 12, read(1)), op(13, 14, read(2))])).toBe(false);
  });

  it('refuses a value that is seen, then not seen, then seen again', () => {
    expect(isLinearizable([op(0, 100, write(1)), op(10, 11, read(1)), op(20, 21, read(0))])).toBe(false);
    expect(isLinearizable([op(0, 100, write(1)), op(10, 11, read(0)), op(20, 21, read(1))])).toBe(true);
  });

  it('lets an operation whose outcome is unknown take effect late, or never', () => {
    expect(isLinearizable([op(0, Infinity, write(1)), op(50, 51, read(0)), op(60, 61, read(1))])).toBe(true);
    expect(isLinearizable([op(0, Infinity, write(1)), op(50, 51, read(0))])).toBe(true);
    expect(isLinearizable([op(0, Infinity, write(1)), op(50, 51, read(1)), op(60, 61, read(0))])).toBe(false);
    expect(isLinearizable([op(10, Infinity, write(1)), op(0, 5, read(1))])).toBe(false);
  });

  it('lets only one of two swaps from the same value succeed', () => {
    expect(isLinearizable([op(0, 10, swap(0, 1, true)), op(0, 10, swap(0, 2, true))])).toBe(false);
    expect(isLinearizable([op(0, 10, swap(0, 1, true)), op(0, 10, swap(0, 2, false, 1))])).toBe(true);
    expect(isLinearizable([op(0, 10, swap(0, 1, true)), op(20, 30, swap(0, 2, false, 0))])).toBe(false);
  });

  it('holds a refusal to what was true while it was asked', () => {
    expect(isLinearizable([op(0, 1, write(1)), op(2, 3, swap(1, 2, false))])).toBe(false);
    expect(isLinearizable([op(0, 1, write(1)), op(2, 9, swap(1, 2, false, 3)), op(4, 5, write(3))])).toBe(true);
  });

  it('judges each key by itself', () => {
    expect(violatedKeys([op(0, 1, write(1), 1), op(2, 3, read(0), 2), op(4, 5, read(0), 1)])).toEqual([1]);
  });

  /** Operations that take effect one after the other at random moments, each called before and answered after its moment. */
  const lived = fc
    .array(fc.record({ kind: fc.nat(2), early: fc.nat(30), late: fc.nat(30), lost: fc.nat(9), expected: fc.nat(40) }), {
      minLength: 1,
      maxLength: 40,
    })
    .map((steps) => {
      let state = 0;
      return steps.map(({ kind, early, late, lost, expected }, n): Operation => {
        const moment = n * 10;
        const times = { key: 0, calledMs: moment - early, returnedMs: lost === 0 ? Infinity : moment + late };
        if (kind === 0) return { ...times, action: read(state) };
        const value = n + 1;
        if (kind === 1) return { ...times, action: write((state = value)) };
        const found = state;
        if (expected % 2 === 0) return { ...times, action: swap(found, (state = value), true) };
        return { ...times, action: swap(found + 1000, value, false, found) };
      });
    });

  it('accepts every history that really happened', () => {
    fc.assert(fc.property(lived, (history) => isLinearizable(history)));
  });

  it('agrees with trying every order', () => {
    const small = fc.array(
      fc.record({ called: fc.nat(12), lasts: fc.nat(8), kind: fc.nat(3), value: fc.nat(2), expected: fc.nat(2), lost: fc.nat(5) }),
      { maxLength: 6 },
    );
    let refused = 0;
    fc.assert(
      fc.property(small, (steps) => {
        const history = steps.map(({ called, lasts, kind, value, expected, lost }) =>
          op(
            called,
            lost === 0 ? Infinity : called + lasts,
            kind === 0 ? read(value) : kind === 1 ? write(value) : swap(expected, value, kind === 2, undefined),
          ),
        );
        const truth = byEveryOrder(history, 0);
        if (!truth) refused++;
        return isLinearizable(history) === truth;
      }),
      { numRuns: 2_000, seed: 5 },
    );
    expect(refused).toBeGreaterThan(300);
  });
});

/** The definition, word by word. */
function byEveryOrder(rest: readonly Operation[], state: number): boolean {
  if (rest.every(({ returnedMs }) => returnedMs === Infinity)) return true;
  return rest.some((first) => {
    if (rest.some((other) => other !== first && other.returnedMs < first.calledMs)) return false;
    const { action } = first;
    let next: number | undefined = state;
    if (action.kind === 'read') next = action.value === state ? state : undefined;
    else if (action.kind === 'write') next = action.value;
    else if (action.kind === 'swap') {
      const finds = action.expected === state;
      next = action.done === finds ? (finds ? action.value : state) : undefined;
    }
    return (
      next !== undefined &&
      byEveryOrder(
        rest.filter((other) => other !== first),
        next,
      )
    );
  });
}
