import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EventHub } from '#events/host';
import type { CarriesApiRequest } from '#http-kit';
import type { Logger } from '#kit';

/**
 * One line a request: id, caller, route, status, time. Reads that went well are debug, the rest is info. Never the query: it may hold a secret. Who listens
 * to `logging` events gets the same line.
 */
export function requestLog(log: Logger, events: EventHub): (request: FastifyRequest & CarriesApiRequest, reply: FastifyReply) => void {
  // pino's, which says so; any other logger is asked every time.
  const debug = (log as { isLevelEnabled?: (level: string) => boolean }).isLevelEnabled?.('debug') ?? true;
  return (request, reply) => {
    const level = request.method === 'GET' && reply.statusCode < 400 ? 'debug' : 'info';
    const listened = events.wanted('logging');
    if (!listened && level === 'debug' && !debug) return;
    const { api } = request;
    const identity = api?.caller.identity;
    const fields = {
      requestId: api?.requestId,
      method: request.method,
      path: request.url.split('?', 1)[0],
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 100) / 100,
      caller: identity?.username,
      protocol: identity?.protocol,
      address: identity?.address,
    };
    log[level](fields, 'request');
    if (listened) {
      const context = Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, String(value ?? '')]));
      events.publish({ type: 'logging', metadata: { context, level, message: 'Handling API request' } });
    }
  };
}
