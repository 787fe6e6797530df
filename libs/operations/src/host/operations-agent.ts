import type { Operation } from '#api-contract';
import { fault } from '#kit';
import { type Members, type OperationRecordMessage, OperationsAgentService } from '#members';
import type { OperationRecord } from './operation-history.js';
import type { Operations } from './operations.js';

const message = ({ operation, project }: OperationRecord): OperationRecordMessage => ({ operation, project });

/** Offers this member's operations to the gateways. */
export function serveOperations(members: Members, operations: Operations): void {
  const found = (id: string): OperationRecord => {
    const record = operations.find(id);
    if (!record) throw fault.notFound('Operation not found');
    return record;
  };
  members.serve(OperationsAgentService, {
    list: async ({ projects, allProjects, history, limit }) => ({
      operations: operations.records({ projects: allProjects ? undefined : projects, history, limit }).map(message),
    }),
    get: async ({ id }) => message(found(id)),
    wait: async ({ id, timeoutMs }, { signal }) => {
      const { project } = found(id);
      const operation: Operation = await operations.wait(id, timeoutMs, signal);
      return { operation, project };
    },
    cancel: async ({ id }, { identity }) => {
      await operations.cancel(id, identity);
      return {};
    },
    connect: async ({ id, secret, ticket, url, headers, head }) => {
      const request = { method: 'GET', url, headers };
      // Opened only when the secret has proved right: a refusal is answered on the connection by the gateway, which then still holds it.
      const upgrade = {
        request,
        head,
        get socket() {
          const stream = members.streams.open(ticket);
          if (!('write' in stream)) throw fault.invalid('Not a connection');
          return stream;
        },
      };
      operations.connect(id, secret, upgrade);
      return {};
    },
    pruneHistory: async () => {
      operations.pruneHistory();
      return {};
    },
  });
}
