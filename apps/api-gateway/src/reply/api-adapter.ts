import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Reply } from '#http-kit';
import { render, type Rendered } from './envelope.js';
import { maxHeaderBytes } from '../listen/limits.js';

/** What is done with requests that no controller sees. */
export interface Strays {
  /** No route fits. */
  notFound(request: FastifyRequest, reply: FastifyReply): void;
  /** Fastify itself refused it (a URL that cannot be decoded). */
  failed(error: unknown, request: FastifyRequest, reply: FastifyReply): void;
}

/** Nest on Fastify as the gateway needs it: controllers return a Reply, bodies stay unread, strays get an envelope too. */
export class ApiAdapter extends FastifyAdapter {
  constructor(private readonly strays: Strays) {
    super({
      skipMiddie: true,
      bodyLimit: Number.MAX_SAFE_INTEGER,
      exposeHeadRoutes: false,
      routerOptions: { maxParamLength: maxHeaderBytes },
      frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => this.strays.failed(error, request, reply),
    });
    const fastify = this.getInstance();
    fastify.removeAllContentTypeParsers();
    fastify.addContentTypeParser('*', (_request: FastifyRequest, _payload: unknown, done: (error: null) => void) => done(null));
    fastify.decorateRequest('api');
  }

  override registerParserMiddleware(): void {
    // The only parser is the one above, which reads nothing.
  }

  override setNotFoundHandler(): ReturnType<FastifyAdapter['setNotFoundHandler']> {
    return super.setNotFoundHandler(((request: FastifyRequest, reply: FastifyReply) => this.strays.notFound(request, reply)) as never);
  }

  override setErrorHandler(): ReturnType<FastifyAdapter['setErrorHandler']> {
    const handler = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => this.strays.failed(error, request, reply);
    return super.setErrorHandler(handler as never);
  }

  override reply(response: Parameters<FastifyAdapter['reply']>[0], body: unknown): never {
    send(response as unknown as FastifyReply, render(body as Reply));
    return undefined as never;
  }
}

/**
 * Sends an answer. What is whole goes out past Fastify's serialiser, which would append a charset to the content type and costs more than the rest of the
 * way; a stream goes through it, for its care of errors on either side.
 */
export function send(response: FastifyReply, { status, headers, body }: Rendered): void {
  if (typeof body !== 'string' && !Buffer.isBuffer(body)) {
    response.code(status);
    response.headers(headers);
    void response.send(body);
    return;
  }
  response.hijack();
  headers['content-length'] = String(Buffer.byteLength(body));
  response.raw.writeHead(status, headers);
  response.raw.end(body);
}
