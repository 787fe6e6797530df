import { Reflector } from '@nestjs/core';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { routeOptionsKey, type ApiRequest, type CarriesApiRequest, type RouteMetadata } from '#http-kit';
import { assert } from '#kit';
import type { Door } from './door.js';
import { readJson } from './read-json.js';

/** Every route passes the door, then has its JSON body read: nobody can make the server hold a body who may not call the route. */
export class DoorGuard implements CanActivate {
  readonly #reflector = new Reflector();

  constructor(private readonly door: Door) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const route = this.#reflector.get<RouteMetadata | undefined>(routeOptionsKey, context.getHandler());
    assert(route, 'every route is declared with @Route');
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest & CarriesApiRequest>();
    const api = this.door.enter(request.raw, http.getResponse<FastifyReply>().raw, route, request.params as Record<string, string>);
    request.api = api;
    if (route.body === 'stream' || (route.body === 'json-or-bytes' && isBytes(api)) || api.method === 'GET' || api.method === 'HEAD') return true;
    return readJson(request.raw).then((body) => {
      api.body = body;
      return true;
    });
  }
}

/** A backup to import, where the same path also takes JSON: clients say so. */
const isBytes = ({ headers }: ApiRequest): boolean => headers['content-type'] === 'application/octet-stream';
