import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import { Fault, type FaultKind, faultKinds } from '#kit';
import { cancelled, notServed, timedOut } from './call-faults.js';

/** The nearest word of gRPC for each kind. The kind itself travels too: several kinds share a word. */
const codes: Record<FaultKind, status> = {
  invalid: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  notFound: status.NOT_FOUND,
  conflict: status.ALREADY_EXISTS,
  changed: status.FAILED_PRECONDITION,
  tooLarge: status.OUT_OF_RANGE,
  unsupported: status.UNIMPLEMENTED,
  unavailable: status.UNAVAILABLE,
  notLeader: status.ABORTED,
  internal: status.INTERNAL,
};

const faultKey = 'muster-fault-bin';

/** Trailers are bounded by HTTP/2: of what is for the log only, the beginning. */
const detailLengthMax = 2_000;

type Wire = Pick<Fault, 'kind' | 'message' | 'detail' | 'status' | 'metadata' | 'retryAfterS'>;

/** What a handler threw, as the status of its call. */
export function faultToStatus(thrown: unknown): Partial<StatusObject> {
  const { kind, message, detail, status: http, metadata, retryAfterS } = Fault.from(thrown);
  const wire: Wire = { kind, message, detail: detail?.slice(0, detailLengthMax), status: http, metadata, retryAfterS };
  const trailer = new Metadata();
  trailer.set(faultKey, Buffer.from(JSON.stringify(wire)));
  // The message travels in the trailer: a status text of gRPC is for people who look at packets.
  return { code: codes[kind], details: kind, metadata: trailer };
}

/** What a call failed with, as the handler threw it; or, when it never got an answer, why. */
export function faultFromError(error: ServiceError): Fault {
  const [value] = error.metadata?.get(faultKey) ?? [];
  if (value instanceof Buffer) {
    const { kind, message, ...rest } = JSON.parse(value.toString()) as Wire;
    if (faultKinds.includes(kind)) return new Fault(kind, message, { ...rest, cause: error });
  }
  switch (error.code) {
    case status.UNAVAILABLE:
      return new Fault('unavailable', 'Service is not reachable', { cause: error, detail: error.message, retryAfterS: 1 });
    case status.DEADLINE_EXCEEDED:
      return timedOut(error);
    case status.CANCELLED:
      return cancelled(error);
    case status.UNIMPLEMENTED:
      return notServed(error);
    case status.RESOURCE_EXHAUSTED:
      return new Fault('tooLarge', 'Message is too large', { cause: error, detail: error.message });
    default:
      return Fault.from(error);
  }
}
