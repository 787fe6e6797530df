import { expect, it } from 'vitest';
import { Pace } from './rate.js';

it('lets a burst pass, spreads the rest up to a limit, and has a burst again after a while', () => {
  let now = 1000;
  const pace = new Pace({ burst: 3, perSecond: 10, waitMsMax: 250 }, { monotonicMs: () => now });
  expect([1, 2, 3, 4, 5, 6, 7].map(() => pace.next())).toEqual([0, 0, 0, 100, 200, 250, 250]);
  now += 10_000;
  expect([1, 2, 3, 4].map(() => pace.next())).toEqual([0, 0, 0, 100]);
});
