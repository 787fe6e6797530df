/** A log in memory, for tests, examples and simulations: what a host's log must do, in the fewest words. */
import { assert } from '#kit/assert';
import type { Entry, LogStorage, Position, SnapshotInstall } from './types.js';

export class MemoryStorage implements LogStorage {
  private list: Entry[] = [];

  /** `base`: the place before the first entry. */
  constructor(private base: Position = { term: 0, index: 0 }) {}

  firstIndex(): number {
    return this.base.index + 1;
  }

  lastIndex(): number {
    return this.base.index + this.list.length;
  }

  term(index: number): number | undefined {
    return index === this.base.index ? this.base.term : this.list[index - this.base.index - 1]?.term;
  }

  entries(from: number, to: number, maxBytes: number): readonly Entry[] {
    const start = from - this.base.index - 1;
    if (start < 0) return [];
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of this.list.slice(start, to - this.base.index)) {
      bytes += entry.data.length;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(entry);
    }
    return found;
  }

  /** Ready.entries: cuts the log where they begin, then appends them. */
  append(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    const at = entries[0]!.index - this.base.index - 1;
    assert(at >= 0 && at <= this.list.length, 'the log has no gaps');
    this.list.length = at;
    for (const entry of entries) this.list.push(entry);
  }

  /** Ready.snapshot. */
  install({ meta, replaces }: SnapshotInstall): void {
    if (replaces === 'state-machine') return;
    this.base = { term: meta.term, index: meta.index };
    this.list = [];
  }

  /** Drops entries up to `index`, which must be durable in the state machine. */
  compact(index: number): void {
    if (index <= this.base.index) return;
    const term = this.term(index);
    assert(term !== undefined, 'a log is compacted within its bounds');
    this.list = this.list.slice(index - this.base.index);
    this.base = { term, index };
  }
}
