/**
 * What went wrong, in words for the caller. Subjects throw faults and know no HTTP numbers; two tables translate them: the gateway's
 * fault-status (kind → status and envelope) and members' fault-rpc (kind ↔ gRPC status), so that a fault crosses members unchanged.
 */
export const faultKinds = [
  'invalid', // the request is malformed or names something that cannot be
  'unauthenticated', // who is calling is not known
  'forbidden', // the caller is known and may not
  'notFound',
  'conflict', // exists already, is in use, is in the wrong state
  'changed', // If-Match did not match
  'tooLarge', // body, config or value over its limit
  'unsupported', // understood, and not possible here
  'unavailable', // for now: starting, stopping, no quorum, queue full; worth trying again
  'notLeader',
  'internal',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface FaultOptions {
  /** For the log only; never sent to a client. */
  detail?: string;
  cause?: unknown;
  /** LXD answers some faults with a status other than their kind's (duplicate profile: 500). Only the HTTP table reads it. */
  status?: number;
  /** Sent with the answer as `metadata` (the submit id of an unknown outcome, say). */
  metadata?: unknown;
  /** Seconds after which trying again makes sense (Retry-After). */
  retryAfterS?: number;
}

export class Fault extends Error {
  readonly detail?: string;
  readonly status?: number;
  readonly metadata?: unknown;
  readonly retryAfterS?: number;

  /** @param message the public sentence: what failed, on what. No stack, no path of the machine, no secret. */
  constructor(
    readonly kind: FaultKind,
    message: string,
    options: FaultOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Fault';
    this.detail = options.detail;
    this.status = options.status;
    this.metadata = options.metadata;
    this.retryAfterS = options.retryAfterS;
  }

  /** Any thrown value as a Fault: faults as they are, everything else `internal` with the original as its cause. */
  static from(thrown: unknown): Fault {
    if (thrown instanceof Fault) return thrown;
    const detail = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    return new Fault('internal', 'Internal error', { cause: thrown, detail });
  }
}

const make =
  (kind: FaultKind) =>
  (message: string, options?: FaultOptions): Fault =>
    new Fault(kind, message, options);

/** `throw fault.notFound('Profile not found')`. */
export const fault = {
  invalid: make('invalid'),
  unauthenticated: make('unauthenticated'),
  forbidden: make('forbidden'),
  notFound: make('notFound'),
  conflict: make('conflict'),
  changed: make('changed'),
  tooLarge: make('tooLarge'),
  unsupported: make('unsupported'),
  unavailable: make('unavailable'),
  notLeader: make('notLeader'),
  internal: make('internal'),
};
