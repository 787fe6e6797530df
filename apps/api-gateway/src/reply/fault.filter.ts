import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { StrayRequests } from './stray-requests.js';

/** Whatever a controller or the guard throws becomes an error envelope. */
@Catch()
export class FaultFilter implements ExceptionFilter {
  constructor(private readonly strays: StrayRequests) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    this.strays.failed(thrown, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }
}
