import { Metadata, type ServerUnaryCall } from '@grpc/grpc-js';
import { internalIdentity } from '#replica/state';
import type { CallContext } from '../context.js';

const contextKey = 'muster-context-bin';

/** Who calls, and for which request: the socket is open to the services of this member only, so it is believed. */
export function contextToMetadata({ identity, requestId }: CallContext): Metadata {
  const metadata = new Metadata();
  metadata.set(contextKey, Buffer.from(JSON.stringify({ identity, requestId })));
  return metadata;
}

/** The context on the other side: with what is left of the deadline, and a signal that follows the caller's. */
export function contextOfCall(call: ServerUnaryCall<unknown, unknown>): CallContext {
  const [value] = call.metadata.get(contextKey);
  const told = value instanceof Buffer ? (JSON.parse(value.toString()) as Pick<CallContext, 'identity' | 'requestId'>) : undefined;
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort());
  const deadline = call.getDeadline();
  const leftMs = (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now();
  return {
    identity: told?.identity ?? internalIdentity,
    requestId: told?.requestId ?? '',
    timeoutMs: Number.isFinite(leftMs) ? Math.max(0, leftMs) : undefined,
    signal: abort.signal,
  };
}
