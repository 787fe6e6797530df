import { fault } from '#kit';
import type { Migration } from '../state/command.js';
import type { SubmitReply, SubmitRequest } from './ports.js';

export const FIFO_COMMANDS_MAX = 1000;
export const FIFO_BYTES_MAX = 8 * 1024 * 1024;
const RETRY_AFTER_S = 1;

/** A command, or the dry run of one, that waits for its batch at the leader. */
export interface Waiting {
  readonly kind: 'command' | 'dry-run';
  readonly request: SubmitRequest;
  /** Monotonic. */
  readonly deadlineMs: number;
  settle(reply: SubmitReply): void;
}

/** Takes its place in the same queue, and a batch of its own. */
export interface WaitingMigration {
  readonly kind: 'migration';
  readonly migration: Migration;
}

export type Item = Waiting | WaitingMigration;

/** What the leader has yet to capture, in the order in which it came. Bounded: refusing early is kinder than answering late. */
export class Fifo {
  readonly #items: Item[] = [];
  #bytes = 0;

  get length(): number {
    return this.#items.length;
  }

  /** @throws Fault unavailable with retryAfterS when full */
  push(item: Waiting): void {
    const bytes = item.request.payload.length;
    if (this.#items.length >= FIFO_COMMANDS_MAX || this.#bytes + bytes > FIFO_BYTES_MAX) {
      throw fault.unavailable('Too many changes are waiting', { retryAfterS: RETRY_AFTER_S });
    }
    this.#items.push(item);
    this.#bytes += bytes;
  }

  /** Back to the front, in their order: a batch that lost its place, migrations of a new leader. Not bounded. */
  unshift(items: readonly Item[]): void {
    this.#items.unshift(...items);
    this.#bytes += items.reduce((sum, item) => sum + sizeOf(item), 0);
  }

  peek(): Item | undefined {
    return this.#items[0];
  }

  shift(): Item | undefined {
    const item = this.#items.shift();
    if (item) this.#bytes -= sizeOf(item);
    return item;
  }

  /** Leaving office empties it. */
  drain(): Item[] {
    this.#bytes = 0;
    return this.#items.splice(0);
  }

  dropMigrations(): void {
    const kept = this.#items.filter((item) => item.kind !== 'migration');
    this.#items.splice(0, this.#items.length, ...kept);
  }
}

const sizeOf = (item: Item): number => (item.kind === 'migration' ? 0 : item.request.payload.length);
