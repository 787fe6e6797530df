import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fault, type Logger } from '#kit';
import { Door } from '../caller/door.js';
import { matchPath, pathPattern } from '../listen/path-pattern.js';
import type { Upgrades } from '../listen/upgrades.js';
import { send, type Strays } from './api-adapter.js';
import { renderFault } from './envelope.js';
import { faultOf } from './fault-status.js';

/** Answers what no controller answers: 404 for a path that nobody has, 501 for a method that a known path has not (LXD's choice, not 405). */
export class StrayRequests implements Strays {
  #patterns: ReturnType<typeof pathPattern>[] = [];
  #upgrades: Upgrades | undefined;
  #door: Door | undefined;

  constructor(private readonly log: Logger) {}

  /** Once the routes are known. */
  know(paths: Iterable<string>, upgrades: Upgrades, door: Door): void {
    this.#patterns = [...new Set(paths)].map(pathPattern);
    this.#upgrades = upgrades;
    this.#door = door;
  }

  notFound(request: FastifyRequest, reply: FastifyReply): void {
    const path = request.url.split('?', 1)[0]!;
    const upgrade = this.#upgrades?.find(path);
    if (!upgrade && !this.#patterns.some((pattern) => matchPath(pattern, path))) return this.failed(fault.notFound('not found'), request, reply);
    try {
      const access = upgrade?.handler.access ?? (path.startsWith('/internal/') ? 'local' : 'trusted');
      this.#door?.enter(request.raw, reply.raw, { access }, upgrade?.params);
      if (upgrade && request.method === 'GET')
        throw fault.invalid("the client is not using the websocket protocol: 'upgrade' token not found in 'Connection' header");
      throw fault.unsupported('not implemented');
    } catch (thrown) {
      this.failed(thrown, request, reply);
    }
  }

  /** For what never came to a route: a request that another member should have had. */
  refuse(thrown: unknown, request: IncomingMessage, response: ServerResponse): void {
    const it = faultOf(thrown);
    if (it.kind === 'internal') this.log.error({ method: request.method, path: request.url?.split('?', 1)[0], err: thrown }, 'request failed');
    if (response.headersSent || response.destroyed) return void response.destroy();
    const { status, headers, body } = renderFault(it, '');
    response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body as string) });
    response.end(body);
  }

  failed(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const it = faultOf(thrown);
    const requestId = (request as { api?: { requestId: string } }).api?.requestId ?? '';
    if (it.kind === 'internal') {
      this.log.error(
        { requestId, method: request.method, path: request.url.split('?', 1)[0], err: it.cause ?? thrown, detail: it.detail },
        'request failed',
      );
    }
    if (reply.raw.headersSent || reply.raw.destroyed) {
      // Half an answer cannot be taken back: cutting the connection is the only way to tell.
      reply.raw.destroy();
      return;
    }
    send(reply, renderFault(it, requestId));
  }
}
