import type { Operation } from '#api-contract';
import type { CallContext } from '#members';
import type { Replica } from '#replica';
import type { Command } from '#replica/state';
import { reply, type Reply } from './reply.js';
import type { ApiRequest } from './request.js';
import { callContext, submitOptions } from './write.js';

/** What OPERATIONS (Operations of #operations/host) is to an http wing. */
export interface OperationStarter {
  start(request: {
    description: string;
    project: string;
    resources?: Record<string, string[]>;
    context: CallContext;
    run: () => Promise<void>;
  }): Operation;
}

/** A change that is one command, answered as an operation because that is what clients wait for (rename of a project, expiry of a snapshot). */
export async function writeAsOperation<P, R>(
  { replica, operations }: { replica: Pick<Replica, 'submit' | 'dryRun'>; operations: OperationStarter },
  request: ApiRequest,
  command: Command<P, R>,
  payload: P,
  operation: { description: string; project: string; resources?: Record<string, string[]> },
): Promise<Reply> {
  if (request.dryRun) return reply.dryRun((await replica.dryRun(command, payload, submitOptions(request))).would);
  const run = async (): Promise<void> => void (await replica.submit(command, payload, submitOptions(request)));
  return reply.operation(operations.start({ ...operation, context: callContext(request), run }));
}
