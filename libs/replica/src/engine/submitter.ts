import { Fault, fault } from '#kit';
import { fromWire } from './fault-wire.js';
import type { SubmitReply, SubmitRequest } from './ports.js';
import { SUBMIT_DEADLINE_MAX_MS } from './submits-table.js';

export type SubmitOutcome = Extract<SubmitReply, { kind: 'applied' | 'would' }>;

interface Pending {
  readonly request: SubmitRequest;
  readonly dryRun: boolean;
  readonly deadlineMs: number;
  /** It may be in some leader's hands: its fate is unknown until it is told. */
  sent: boolean;
  /** An answer got lost on its way: the entry may still come. */
  unknown: boolean;
  /** The answer, once the leader has given it; handed out when this member has applied as much. */
  reply?: Extract<SubmitReply, { kind: 'applied' }>;
  readonly outcome: Promise<SubmitOutcome>;
  resolve(reply: SubmitOutcome): void;
  reject(error: Fault): void;
}

export interface SubmitterParts {
  readonly monotonicMs: () => number;
  readonly applied: () => number;
  /** Hands the request to the leader as it is known now; undefined if there is none. Rejects if the fate is unknown. */
  readonly toLeader: (request: SubmitRequest, dryRun: boolean, deadlineMs: number) => Promise<SubmitReply> | undefined;
}

/**
 * The submitting side: on the member that got the request. It repeats a command under its id until its fate is known, and answers when this
 * member has applied it. What comes first counts: the applied entry with the id in it, or the leader's answer.
 */
export class Submitter {
  readonly #pending = new Map<string, Pending>();

  constructor(private readonly parts: SubmitterParts) {}

  has(submitId: string): boolean {
    return this.#pending.has(submitId);
  }

  /** @throws Fault the handler's; unavailable with `metadata: {submitId}` if the outcome is not known in time */
  submit(request: SubmitRequest, dryRun: boolean): Promise<SubmitOutcome> {
    const known = this.#pending.get(request.submitId);
    if (known) return known.outcome;
    const timeoutMs = Math.min(request.timeoutMs, SUBMIT_DEADLINE_MAX_MS);
    const { promise: outcome, resolve, reject } = Promise.withResolvers<SubmitOutcome>();
    const deadlineMs = this.parts.monotonicMs() + timeoutMs;
    const pending: Pending = { request, dryRun, deadlineMs, sent: false, unknown: false, outcome, resolve, reject };
    this.#pending.set(request.submitId, pending);
    this.#send(pending);
    return outcome;
  }

  /** An entry with this id was applied here. */
  appliedEntry(submitId: string, index: number, result: string): void {
    const pending = this.#pending.get(submitId);
    if (pending) this.#settle(pending, () => pending.resolve({ kind: 'applied', index, result }));
  }

  /** The applied index has risen. */
  settle(): void {
    const applied = this.parts.applied();
    for (const pending of this.#pending.values()) {
      const { reply } = pending;
      if (reply && reply.index <= applied) this.#settle(pending, () => pending.resolve(reply));
    }
  }

  /** Another leader, or none any more. */
  leaderChanged(): void {
    for (const pending of this.#pending.values()) if (!pending.sent) this.#send(pending);
  }

  /** Called with every tick. */
  tick(): void {
    const nowMs = this.parts.monotonicMs();
    for (const pending of this.#pending.values()) {
      if (nowMs >= pending.deadlineMs) this.#settle(pending, () => pending.reject(late(pending)));
      else if (!pending.sent) this.#send(pending);
    }
  }

  fail(error: Fault): void {
    for (const pending of this.#pending.values()) this.#settle(pending, () => pending.reject(error));
  }

  #send(pending: Pending): void {
    const reply = this.parts.toLeader(pending.request, pending.dryRun, pending.deadlineMs);
    if (!reply) return;
    pending.sent = true;
    reply.then(
      (told) => this.#told(pending, told),
      // Asking again under the same id is safe, and is the way.
      () => {
        pending.sent = false;
        pending.unknown = true;
      },
    );
  }

  #told(pending: Pending, reply: SubmitReply): void {
    if (reply.kind === 'not-leader') pending.sent = false;
    else if (reply.kind === 'fault') this.#settle(pending, () => pending.reject(fromWire(reply.fault)));
    else if (reply.kind === 'would') this.#settle(pending, () => pending.resolve(reply));
    else {
      pending.reply = reply;
      if (reply.index <= this.parts.applied()) this.#settle(pending, () => pending.resolve(reply));
    }
  }

  /** A late word about an earlier asking must not settle a repetition under the same id. */
  #settle(pending: Pending, how: () => void): void {
    const { submitId } = pending.request;
    if (this.#pending.get(submitId) !== pending) return;
    this.#pending.delete(submitId);
    how();
  }
}

function late({ request, sent, unknown, dryRun }: Pending): Fault {
  if (dryRun || (!sent && !unknown)) return fault.unavailable('There is no leader; nothing was changed', { retryAfterS: 1 });
  return fault.unavailable('The outcome of the change is not known yet', { metadata: { submitId: request.submitId } });
}
