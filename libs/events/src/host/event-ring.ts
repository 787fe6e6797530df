import type { EventRecord } from './event-hub.js';

export interface RingLimits {
  events: number;
  bytes: number;
  ageMs: number;
}

/** Ten minutes or 10,000 events, and never more memory than a small daemon can spare. */
export const ringLimits: RingLimits = { events: 10_000, bytes: 32 * 2 ** 20, ageMs: 600_000 };

interface Kept {
  record: EventRecord;
  atMs: number;
}

/** The last events of one boot of one member, by number without gaps between `first` and `last`. */
export class EventRing {
  #kept: Kept[] = [];
  /** Index of the oldest kept: the array is cut only when half of it is dead. */
  #head = 0;
  #bytes = 0;
  last = 0;

  constructor(
    readonly member: string,
    readonly boot: string,
    private readonly limits: RingLimits = ringLimits,
  ) {}

  /** Number of the oldest kept event; `last + 1` when none is. */
  get first(): number {
    return this.#kept[this.#head]?.record.number ?? this.last + 1;
  }

  push(record: EventRecord, nowMs: number): void {
    // A gap in what another member sent: what is older cannot be told apart from what is missing.
    if (record.number !== this.last + 1) this.#clear();
    this.#kept.push({ record, atMs: nowMs });
    this.#bytes += record.json.length;
    this.last = record.number;
    this.prune(nowMs);
  }

  prune(nowMs: number): void {
    while (this.#head < this.#kept.length) {
      const oldest = this.#kept[this.#head]!;
      const count = this.#kept.length - this.#head;
      if (count <= this.limits.events && this.#bytes <= this.limits.bytes && nowMs - oldest.atMs <= this.limits.ageMs) break;
      this.#bytes -= oldest.record.json.length;
      this.#head++;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Those after `number` that are still kept. */
  after(number: number): EventRecord[] {
    const from = this.#head + Math.max(0, number + 1 - this.first);
    return this.#kept.slice(from).map((kept) => kept.record);
  }

  #clear(): void {
    this.#kept = [];
    this.#head = 0;
    this.#bytes = 0;
  }
}
