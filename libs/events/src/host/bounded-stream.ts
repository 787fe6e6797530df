import type { EventRecord, EventStream } from './event-hub.js';

/** What a listener may be behind: events, and characters of JSON. */
export interface QueueLimits {
  events: number;
  bytes: number;
}

export const queueLimits: QueueLimits = { events: 10_000, bytes: 8 * 2 ** 20 };

/** The queue of one listener. `push` never waits: beyond the limits the listener is cut, and what it had not taken is dropped. */
export class BoundedStream implements EventStream {
  /** What the listener resumes with: known to be bounded, so not counted. Delivered first. */
  #backlog: EventRecord[] = [];
  #queue: EventRecord[] = [];
  #bytes = 0;
  #waiting: ((result: IteratorResult<EventRecord>) => void) | undefined;
  #reason: string | undefined;
  #ended = Promise.withResolvers<void>();

  constructor(
    private readonly onEnd: () => void,
    private readonly limits: QueueLimits = queueLimits,
  ) {}

  get reason(): string | undefined {
    return this.#reason;
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  push(record: EventRecord): void {
    if (this.#reason !== undefined) return;
    if (this.#waiting) {
      const resolve = this.#waiting;
      this.#waiting = undefined;
      resolve({ done: false, value: record });
      return;
    }
    this.#queue.push(record);
    this.#bytes += record.json.length;
    if (this.#queue.length > this.limits.events || this.#bytes > this.limits.bytes) {
      this.#backlog = [];
      this.#queue = [];
      this.end('listener too slow');
    }
  }

  preload(records: readonly EventRecord[]): void {
    this.#backlog = this.#backlog.concat(records);
  }

  /** No more will be pushed; what is queued is still delivered. */
  end(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#ended.resolve();
    this.onEnd();
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  close(): void {
    this.#backlog = [];
    this.#queue = [];
    this.end('');
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [Symbol.asyncIterator](): AsyncIterator<EventRecord> {
    return {
      next: () => {
        const record = this.#take();
        if (record) return Promise.resolve({ done: false, value: record });
        if (this.#reason !== undefined) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve) => (this.#waiting = resolve));
      },
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #take(): EventRecord | undefined {
    const old = this.#backlog.shift();
    if (old) return old;
    const record = this.#queue.shift();
    if (record) this.#bytes -= record.json.length;
    return record;
  }
}
