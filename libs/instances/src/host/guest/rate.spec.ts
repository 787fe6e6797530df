import { expect, it } from 'vitest';
import { Pace } from './rate.js';

it('lets a burst pass, spreads the rest, and has a burst again after a while', () => {
  let now = 1000;
  const pace = new Pace({ burst: 3, perSecond: 10 }, { monotonicMs: () => now });
  expect([1, 2, 3, 4, 5].map(() => pace.next())).toEqual([0, 0, 0, 100, 200]);
  now += 10_000;
  expect([1, 2, 3, 4].map(() => pace.next())).toEqual([0, 0, 0, 100]);
});
