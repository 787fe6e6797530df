/** What an instance wants of the member that shall have it. */
export interface Placement {
  /** Named by ?target=: a member, or a group as `@group`. */
  target?: string;
  /** `x86_64`; absent when anything will do (no image yet). */
  architecture?: string;
  pools: readonly string[];
  networks: readonly string[];
}

/** A member as the scheduler sees it: plain data, gathered before. */
export interface Candidate {
  name: string;
  state: 'online' | 'offline' | 'evacuated' | 'blocked';
  /** All that it can run, its own first. */
  architectures: readonly string[];
  /** Pools and networks that are made there and can be used. */
  pools: readonly string[];
  networks: readonly string[];
  groups: readonly string[];
  /** `all`: any; `manual`: only when named; `group`: only by one of its groups. */
  schedulerInstance: 'all' | 'manual' | 'group';
  instances: number;
}

/** Why a member cannot have it. */
export interface Refusal {
  member: string;
  /** Name of the check: for people, metrics and tests. */
  check: string;
  /** A sentence. */
  reason: string;
}

/** One condition. Answers with the sentence that says why not, or nothing. Pure. */
export interface Check {
  readonly name: string;
  refuses(placement: Placement, candidate: Candidate): string | undefined;
}
