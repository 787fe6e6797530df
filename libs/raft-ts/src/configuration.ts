/**
 * Configurations: what a change makes of one, and which is in force. A configuration is in force from the moment its entry is appended
 * (thesis §4.1), and no longer once that entry is truncated away; so all of them since the applied index are kept.
 */
import { assert } from '#kit/assert';
import type { Configuration, ConfigurationChange, MemberId } from './types.js';

/** Nobody: what a member that was not yet told about its cluster begins with. */
export const noConfiguration: Configuration = { voters: [], outgoing: [], learners: [], spares: [], incarnations: {}, removed: [] };

export const isJoint = (c: Configuration): boolean => c.outgoing.length > 0;

/** Every member, in ascending order. */
export function membersOf(c: Configuration): MemberId[] {
  return ascending(new Set([...c.voters, ...c.outgoing, ...c.learners, ...c.spares]));
}

/** Voter in either half. */
export const isVoter = (c: Configuration, id: MemberId): boolean => c.voters.includes(id) || c.outgoing.includes(id);

/** Removed, and not even needed any more to leave a joint configuration. */
export const isRemoved = (c: Configuration, id: MemberId): boolean => c.removed.includes(id) && !c.outgoing.includes(id);

/** Nobody else's vote is ever needed. */
export const isSoleVoter = (c: Configuration, id: MemberId): boolean =>
  c.voters.length === 1 && c.voters[0] === id && c.outgoing.every((other) => other === id);

/** The configuration that `change` makes of `from`, or why it makes no sense. */
export function changed(from: Configuration, change: ConfigurationChange): Configuration | { readonly why: string } {
  if ('leaveJoint' in change) return isJoint(from) ? trimmed({ ...from, outgoing: [] }) : { why: 'the configuration is not joint' };
  if (isJoint(from)) return { why: 'the configuration is joint: leave that first' };

  const voters = new Set(from.voters);
  const learners = new Set(from.learners);
  const spares = new Set(from.spares);
  const removed = new Set(from.removed);
  const incarnations: Record<MemberId, number> = { ...from.incarnations };
  for (const { id, role, incarnation } of change.members) {
    if (!Number.isInteger(id) || id < 1 || id > 0xffff_ffff) return { why: `${id} is not a member id` };
    if (removed.has(id)) return { why: `member ${id} was removed: its id is never used again` };
    const known = incarnations[id] ?? 0;
    if (incarnation !== undefined && incarnation < known) return { why: `member ${id} is at incarnation ${known} already` };
    // Under a new incarnation a member has forgotten its votes and its log: it may not be counted until it has caught up as a learner.
    if (incarnation !== undefined && incarnation > known && role === 'voter' && voters.has(id)) {
      return { why: `a new incarnation of member ${id} begins as a learner` };
    }
    for (const list of [voters, learners, spares]) list.delete(id);
    if (role === 'voter') voters.add(id);
    else if (role === 'learner') learners.add(id);
    else if (role === 'spare') spares.add(id);
    else removed.add(id);
    if (incarnation !== undefined) incarnations[id] = incarnation;
  }
  if (voters.size === 0) return { why: 'nobody would be left to vote' };

  const before = new Set(from.voters);
  const moved = [...voters].filter((id) => !before.has(id)).length + [...before].filter((id) => !voters.has(id)).length;
  const joint = change.joint === true || moved > 1;
  return trimmed({
    voters: ascending(voters),
    outgoing: joint ? from.voters : [],
    learners: ascending(learners),
    spares: ascending(spares),
    incarnations,
    removed: ascending(removed),
  });
}

/** Forgets the incarnations of those that are gone, and says nothing where 0 is meant. */
function trimmed(c: Configuration): Configuration {
  const incarnations: Record<MemberId, number> = {};
  for (const id of membersOf(c)) if ((c.incarnations[id] ?? 0) > 0) incarnations[id] = c.incarnations[id]!;
  return { ...c, incarnations };
}

const ascending = (ids: Iterable<MemberId>): MemberId[] => [...ids].sort((a, b) => a - b);

/** The configurations from the applied one to the one in force. */
export class Configurations {
  private list: { readonly index: number; readonly configuration: Configuration }[];

  constructor(appliedIndex: number, applied: Configuration) {
    this.list = [{ index: appliedIndex, configuration: applied }];
  }

  get inForce(): Configuration {
    return this.list.at(-1)!.configuration;
  }

  /** Index of the entry that put it in force. */
  get inForceIndex(): number {
    return this.list.at(-1)!.index;
  }

  /** The one last applied: what truncation cannot undo. */
  get applied(): Configuration {
    return this.list[0]!.configuration;
  }

  /**
   * Whether the member votes in the configuration in force, or in one that could still come back because its successor is not committed. Such
   * a member must go on standing for election: its log may be the only one that can win (thesis §4.2.2).
   */
  mayNeed(id: MemberId, commit: number): boolean {
    for (let i = this.list.length - 1; i >= 0; i--) {
      const { index, configuration } = this.list[i]!;
      if (isVoter(configuration, id)) return true;
      if (index <= commit) return false;
    }
    return false;
  }

  append(index: number, configuration: Configuration): void {
    assert(index > this.inForceIndex, 'configurations come in the order of the log');
    this.list.push({ index, configuration });
  }

  /** The log was cut: entries from `index` on are gone. True if another configuration is in force now. */
  truncateFrom(index: number): boolean {
    const before = this.list.length;
    while (this.list.length > 1 && this.list.at(-1)!.index >= index) this.list.pop();
    return this.list.length < before;
  }

  appliedTo(index: number): void {
    while (this.list.length > 1 && this.list[1]!.index <= index) this.list.shift();
  }

  /**
   * The state machine was set to `index` by a snapshot, and the log stays. What was in force there may be unknown here: the log before it may
   * have been compacted away while the state machine was not there yet.
   */
  rebase(index: number, configuration: Configuration): void {
    if (this.list[0]!.index > index) return;
    this.list = [{ index, configuration }, ...this.list.filter((later) => later.index > index)];
  }

  /** A snapshot took the place of everything up to `index`, and nothing comes after. */
  reset(index: number, configuration: Configuration): void {
    this.list = [{ index, configuration }];
  }
}
