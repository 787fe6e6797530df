/**
 * A broken invariant: the program's own reasoning was wrong. It is never answered to a client and never retried; whoever catches it at the
 * top stops what the invariant protects (a replica, a member) rather than going on with a state nobody understands.
 */
export class InvariantBroken extends Error {
  constructor(what: string) {
    super(`invariant broken: ${what}`);
    this.name = 'InvariantBroken';
  }
}

/** Throws InvariantBroken unless `condition` holds. `what` says the rule, not the symptom. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new InvariantBroken(what);
}

/** For the default branch of an exhaustive switch: the compiler proves it is never reached. */
export function unreachable(value: never): never {
  throw new InvariantBroken(`unexpected value ${JSON.stringify(value)}`);
}
