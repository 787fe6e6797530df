import type { CallContext } from '#members';
import type { Replica, SubmitOptions } from '#replica';
import type { Command } from '#replica/state';
import { reply, type Reply } from './reply.js';
import type { ApiRequest } from './request.js';

/** What every submit of a request carries: who, and the id under which logs, events and history know it. */
export function submitOptions(request: Pick<ApiRequest, 'caller' | 'requestId'>): SubmitOptions {
  return { identity: request.caller.identity, requestId: request.requestId };
}

/** What a call to another service carries. With `whileConnected` it is aborted when the client goes away: for reads and streams, never for an accepted change. */
export function callContext(request: Pick<ApiRequest, 'caller' | 'requestId' | 'signal'>, whileConnected = false): CallContext {
  return { identity: request.caller.identity, requestId: request.requestId, signal: whileConnected ? request.signal : undefined };
}

/**
 * The one way from a mutating route to the replica: submits the command and answers with `done`, or, on ?dry-run=1, runs and undoes it and says what it
 * would have done.
 */
export async function write<P, R>(
  replica: Pick<Replica, 'submit' | 'dryRun'>,
  request: Pick<ApiRequest, 'caller' | 'requestId' | 'dryRun'>,
  command: Command<P, R>,
  payload: P,
  done: (result: R) => Reply | Promise<Reply>,
): Promise<Reply> {
  const options = submitOptions(request);
  if (request.dryRun) return reply.dryRun((await replica.dryRun(command, payload, options)).would);
  return done((await replica.submit(command, payload, options)).result);
}
