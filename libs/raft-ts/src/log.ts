/**
 * The log as the node sees it: the host's storage, overlaid by a tail in memory. The tail holds everything that is not durable yet, and
 * beyond that some of the most recent entries, so that neither replication nor applying reads the disk in the common case.
 *
 *     storage        ······················|
 *     tail                        |······························|
 *     indexes   first      applied   delivered   commit  durable  handed  last      (commit may lie anywhere from delivered to last)
 *
 * What the tail has hides what the storage has, so a truncation is in force here before the host has written it.
 */
import { assert } from '#kit/assert';
import type { Entry, LogStorage, Position } from './types.js';

const OVERHEAD_BYTES = 64;

const costOf = (entry: Entry): number => entry.data.length + OVERHEAD_BYTES;

export class RaftLog {
  private tail: Entry[] = [];
  private tailFrom: number;
  private tailBytes = 0;
  /** A snapshot whose installation is not durable yet: the log begins behind it, whatever the storage has. */
  private base: Position | undefined;
  /** Up to here the host has made durable what is in this log. */
  durable: number;
  /** Up to here entries were handed out to be written. */
  handed: number;
  commit: number;
  /** Up to here entries were handed out as committed. */
  delivered: number;
  applied: number;

  constructor(
    private readonly storage: LogStorage,
    applied: number,
    commit: number,
    private readonly keepBytes: number,
  ) {
    const last = storage.lastIndex();
    this.tailFrom = last + 1;
    this.durable = last;
    this.handed = last;
    this.commit = Math.max(Math.min(commit, last), applied);
    this.delivered = applied;
    this.applied = applied;
  }

  get firstIndex(): number {
    return this.base ? this.base.index + 1 : this.storage.firstIndex();
  }

  get lastIndex(): number {
    return this.tailFrom + this.tail.length - 1;
  }

  get last(): Position {
    const index = this.lastIndex;
    return { index, term: this.termOf(index) };
  }

  /** Undefined outside of firstIndex - 1 … lastIndex. */
  term(index: number): number | undefined {
    if (index >= this.tailFrom) return this.tail[index - this.tailFrom]?.term;
    if (this.base) return index === this.base.index ? this.base.term : undefined;
    return this.storage.term(index);
  }

  termOf(index: number): number {
    const term = this.term(index);
    assert(term !== undefined, `the log knows the term of entry ${index}`);
    return term;
  }

  /** At least one entry if `from` is there, then as many up to `to` as fit; may end early where storage and tail meet. */
  entries(from: number, to: number, maxBytes: number): readonly Entry[] {
    if (from > to || from > this.lastIndex) return [];
    if (from < this.tailFrom) return this.storage.entries(from, Math.min(to, this.tailFrom - 1), maxBytes);
    const start = from - this.tailFrom;
    const stop = Math.min(to, this.lastIndex) - this.tailFrom + 1;
    let end = start;
    for (let bytes = 0; end < stop; end++) {
      bytes += costOf(this.tail[end]!);
      if (bytes > maxBytes && end > start) break;
    }
    return this.tail.slice(start, end);
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'the log has no gaps');
    this.tail.push(entry);
    this.tailBytes += costOf(entry);
  }

  /** Drops the entries from `index` on. */
  truncateFrom(index: number): void {
    assert(index > this.commit, `a committed entry (${index}, commit ${this.commit}) is never truncated`);
    assert(index > this.delivered, 'an entry handed out as committed is never truncated');
    if (index <= this.tailFrom) {
      this.tail = [];
      this.tailBytes = 0;
      this.tailFrom = index;
    } else {
      while (this.lastIndex >= index) this.tailBytes -= costOf(this.tail.pop()!);
    }
    this.durable = Math.min(this.durable, index - 1);
    this.handed = Math.min(this.handed, index - 1);
  }

  commitTo(index: number): void {
    assert(index <= this.lastIndex, `commit index ${index} lies in the log, which ends at ${this.lastIndex}`);
    if (index > this.commit) this.commit = index;
  }

  /** Entries that were not handed out to be written yet, and marks them so. */
  takeUnwritten(): readonly Entry[] {
    if (this.handed >= this.lastIndex) return [];
    const entries = this.tail.slice(this.handed + 1 - this.tailFrom);
    this.handed = this.lastIndex;
    return entries;
  }

  get hasUnwritten(): boolean {
    return this.handed < this.lastIndex;
  }

  /** The host wrote up to there. What was truncated since does not count. */
  durableTo(upTo: Position): void {
    if (this.base && upTo.index >= this.base.index && this.storage.firstIndex() > this.base.index) this.base = undefined;
    if (upTo.index > this.durable && upTo.index <= this.handed && this.term(upTo.index) === upTo.term) this.durable = upTo.index;
    this.trim();
  }

  /** Everything up to the snapshot's place is replaced by it, and everything behind it is forgotten. */
  restore(at: Position): void {
    this.base = { term: at.term, index: at.index };
    this.tail = [];
    this.tailBytes = 0;
    this.tailFrom = at.index + 1;
    this.durable = at.index;
    this.handed = at.index;
    this.commit = at.index;
    this.delivered = at.index;
  }

  deliveredTo(index: number): void {
    this.delivered = index;
    this.trim();
  }

  /** Where a log that has `at` can first agree with this one: the last entry at or before it whose term is not above its term (thesis §3.5). */
  agreesBefore(at: Position): Position {
    let index = Math.min(at.index, this.lastIndex);
    for (;;) {
      const term = this.term(index);
      if (term === undefined) return { index, term: 0 };
      if (term <= at.term) return { index, term };
      index--;
    }
  }

  /** Forgets the front of the tail, what is durable and delivered, in few large steps. */
  private trim(): void {
    if (this.tailBytes <= 2 * this.keepBytes) return;
    const upTo = Math.min(this.durable, this.delivered);
    let drop = 0;
    while (this.tailBytes > this.keepBytes && this.tailFrom + drop <= upTo) this.tailBytes -= costOf(this.tail[drop++]!);
    if (drop === 0) return;
    this.tail = this.tail.slice(drop);
    this.tailFrom += drop;
  }
}
