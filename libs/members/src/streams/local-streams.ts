import { randomBytes } from 'node:crypto';
import type { Duplex, Readable } from 'node:stream';
import { fault } from '#kit';
import type { Streams } from '../streams.js';

const ticketMs = 30_000;

/** Offered and not yet opened. Beyond that somebody offers without ever opening. */
const waitingMax = 1_000;

/** Streams within one process: opening a ticket gives the very object that was offered. */
export class LocalStreams implements Streams {
  readonly #waiting = new Map<string, { stream: Readable | Duplex; timer: NodeJS.Timeout; close: () => void }>();

  offer(stream: Readable | Duplex): string {
    if (this.#waiting.size >= waitingMax) throw fault.unavailable('Too many streams', { retryAfterS: 1 });
    const ticket = randomBytes(16).toString('hex');
    const timer = setTimeout(() => {
      this.#take(ticket);
      stream.destroy(fault.unavailable('Nobody came for the stream'));
    }, ticketMs);
    timer.unref();
    const close = (): void => void this.#take(ticket);
    // Until somebody listens, and when nobody does any more, a stream that breaks is no reason to end the process.
    stream.on('error', () => {});
    stream.once('close', close);
    this.#waiting.set(ticket, { stream, timer, close });
    return ticket;
  }

  open(ticket: string): Readable | Duplex {
    const stream = this.#take(ticket);
    if (!stream) throw fault.notFound('Stream not found');
    return stream;
  }

  #take(ticket: string): Readable | Duplex | undefined {
    const waiting = this.#waiting.get(ticket);
    if (!waiting) return undefined;
    clearTimeout(waiting.timer);
    waiting.stream.off('close', waiting.close);
    this.#waiting.delete(ticket);
    return waiting.stream;
  }
}
