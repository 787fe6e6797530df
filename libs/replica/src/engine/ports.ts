import type { MemberId, Message } from '#raft-ts';
import type { Effect } from '../ports.js';
import type { Identity } from '../state/command.js';

/** Time and turns, so that a simulator can run many engines in one thread by its own clock. */
export interface EngineClock {
  monotonicMs(): number;
  realMs(): number;
  every(intervalMs: number, work: () => void): Disposable;
  /** Resolves in a later turn of the event loop, after what is waiting there. */
  turn(): Promise<void>;
}

/** A command as it travels: to the worker, and from member to member. Entries never do. */
export interface SubmitRequest {
  readonly name: string;
  /** JSON text. Parsed anew for every run, so that a handler may do with it what it likes. */
  readonly payload: string;
  readonly identity: Identity;
  /** 128 random bits, hex. The same for every repetition. */
  readonly submitId: string;
  readonly requestId: string;
  readonly timeoutMs: number;
}

/** What became of a command. A fault is plain data, see fault-wire.ts. */
export type SubmitReply =
  | { readonly kind: 'applied'; readonly index: number; readonly result: string }
  | { readonly kind: 'fault'; readonly fault: WireFault }
  | { readonly kind: 'would'; readonly would: Effect[]; readonly result: string }
  /** Ask again: this member does not lead, or not in the term that was named. Nothing was done that is not in the log. */
  | { readonly kind: 'not-leader' };

export interface WireFault {
  readonly kind: string;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly status?: number | undefined;
  readonly metadata?: unknown;
  readonly retryAfterS?: number | undefined;
}

/** Between engines. It carries, and decides nothing. */
export interface Transport {
  start(handlers: TransportHandlers): void;
  /** Best effort, in order per peer as far as it gets. */
  send(messages: readonly Message[]): void;
  /** `term` is the one the submit is addressed to: a leader of another refuses it. Rejects if the fate is unknown. */
  submit(to: MemberId, term: number, request: SubmitRequest, dryRun: boolean): Promise<SubmitReply>;
  close(): Promise<void>;
}

export interface TransportHandlers {
  message(message: Message): void;
  /** `from`: the member that waits for it. */
  submit(from: MemberId, term: number, request: SubmitRequest, dryRun: boolean): Promise<SubmitReply>;
  unreachable(peer: MemberId): void;
}

/** The transport of a member that has no peers. */
export const loneTransport: Transport = {
  start: () => {},
  send: () => {},
  submit: () => Promise.reject(new Error('this member has no peers')),
  close: async () => {},
};

export const systemEngineClock: EngineClock = {
  monotonicMs: () => performance.now(),
  realMs: () => Date.now(),
  every(intervalMs, work) {
    const timer = setInterval(work, intervalMs);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
};
