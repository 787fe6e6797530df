import type { Identity } from '#replica/state';

/** What travels with every call between services, beside its message. */
export interface CallContext {
  identity: Identity;
  /** W3C trace id; the same in the request's log line, its operation, its events and history. */
  requestId: string;
  /** Monotonic deadline is made anew on each side from what is left: milliseconds. */
  timeoutMs?: number;
  /** Aborted when the client went away and the call only served it. */
  signal?: AbortSignal;
}
