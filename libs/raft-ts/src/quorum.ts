/** Counting. A group is one majority that must agree; while joint there are two, and both must (thesis §4.3). */
import type { MemberId } from './types.js';

export type Majorities = readonly (readonly MemberId[])[];

const scratch: number[] = [];

/** The highest value that a majority of every group has reached. -1 if some group has no members: an empty group agrees to nothing. */
export function reachedByAll(majorities: Majorities, valueOf: (id: MemberId) => number): number {
  let lowest = Infinity;
  for (const group of majorities) {
    if (group.length === 0) return -1;
    lowest = Math.min(lowest, reachedByMajority(group, valueOf));
  }
  return lowest === Infinity ? -1 : lowest;
}

function reachedByMajority(group: readonly MemberId[], valueOf: (id: MemberId) => number): number {
  // Insertion into a reused array, largest first: groups have three to seven members, and this runs for every acknowledgement.
  scratch.length = 0;
  for (const id of group) {
    const value = valueOf(id);
    let at = scratch.length;
    while (at > 0 && scratch[at - 1]! < value) at--;
    scratch.splice(at, 0, value);
  }
  return scratch[group.length >> 1]!;
}

/** Votes so far: `lost` as soon as some group cannot reach a majority any more. */
export function outcome(majorities: Majorities, votes: ReadonlyMap<MemberId, boolean>): 'won' | 'lost' | 'open' {
  let won = majorities.length > 0;
  for (const group of majorities) {
    const needed = (group.length >> 1) + 1;
    let yes = 0;
    let no = 0;
    for (const id of group) {
      const vote = votes.get(id);
      if (vote === true) yes++;
      else if (vote === false) no++;
    }
    if (group.length - no < needed) return 'lost';
    if (yes < needed) won = false;
  }
  return won ? 'won' : 'open';
}
