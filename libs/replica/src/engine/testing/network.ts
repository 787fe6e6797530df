import type { MemberId, Message } from '#raft-ts';
import type { SubmitReply, Transport, TransportHandlers } from '../ports.js';

/** The engines of one thread, as if they were connected: every message takes a turn of the loop, and links can be cut. */
export class Network {
  readonly #members = new Map<MemberId, TransportHandlers>();
  readonly #cut = new Set<string>();

  join(id: MemberId): Transport {
    return {
      start: (handlers) => void this.#members.set(id, handlers),
      send: (messages) => messages.forEach((message) => this.#send(message)),
      submit: (to, term, request, dryRun) => this.#call(id, to, (handlers) => handlers.submit(id, term, structuredClone(request), dryRun)),
      close: async () => void this.#members.delete(id),
    };
  }

  /** Nothing passes between this member and the others, either way. */
  isolate(id: MemberId): void {
    for (const other of [1, 2, 3]) {
      if (other === id) continue;
      this.#cut.add(`${id}-${other}`);
      this.#cut.add(`${other}-${id}`);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  #passes(from: MemberId, to: MemberId): boolean {
    return this.#members.has(to) && !this.#cut.has(`${from}-${to}`);
  }

  #send(message: Message): void {
    const copy = structuredClone(message);
    setImmediate(() => {
      if (this.#passes(message.from, message.to)) this.#members.get(message.to)?.message(copy);
    });
  }

  /** An answer that is cut off on its way is lost, like the question. */
  async #call(from: MemberId, to: MemberId, ask: (handlers: TransportHandlers) => Promise<SubmitReply>): Promise<SubmitReply> {
    const handlers = this.#members.get(to);
    if (!handlers || !this.#passes(from, to)) throw new Error('unreachable');
    const reply = await ask(handlers);
    if (!this.#passes(to, from)) throw new Error('unreachable');
    return reply;
  }
}
