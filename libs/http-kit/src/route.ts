import 'reflect-metadata';
import { Delete, Get, Head, Patch, Post, Put, SetMetadata, applyDecorators, createParamDecorator } from '@nestjs/common';
import type { ApiRequest } from './request.js';

/**
 * Who may call a route. Every route says so, and the gateway's guard refuses what it does not name:
 * guest — anybody; the handler itself tells guests apart (GET /1.0, public images, POST certificates, operations by secret);
 * trusted — any trusted caller; lists filter by project themselves;
 * project — a caller that may touch the project of ?project=;
 * admin — unrestricted callers only;
 * metrics — admins and metrics certificates; everybody when core.metrics_authentication is off;
 * local — the unix socket only (/internal).
 */
export type Access = 'guest' | 'trusted' | 'project' | 'admin' | 'metrics' | 'local';

export interface RouteOptions {
  access: Access;
  /** 'json' (default): body parsed and bounded at 16 MiB; 'stream': handed over unread; 'json-or-bytes': unread where it is application/octet-stream. */
  body?: 'json' | 'stream' | 'json-or-bytes';
  /** Needs no database: served while the daemon is starting or stopping. */
  always?: boolean;
}

/** What `@Route` leaves on a method: how the gateway finds all routes, and how the test of unauthorised callers walks them. */
export interface RouteMetadata extends RouteOptions {
  method: keyof typeof verbs;
  path: string;
}

export const routeOptionsKey = 'muster:route';

const verbs = { GET: Get, POST: Post, PUT: Put, PATCH: Patch, DELETE: Delete, HEAD: Head } as const;

/** Where the gateway's guard leaves the ApiRequest that it made. */
export interface CarriesApiRequest {
  api?: ApiRequest;
}

const TheRequest = createParamDecorator((_data: unknown, context) => context.switchToHttp().getRequest<CarriesApiRequest>().api);

/** `@Route('GET', '/1.0/profiles/:name', { access: 'project' })` on a controller's method, which takes one ApiRequest and returns a Reply. */
export function Route(method: keyof typeof verbs, path: string, options: RouteOptions): MethodDecorator {
  const metadata: RouteMetadata = { method, path, ...options };
  return applyDecorators(verbs[method](path), SetMetadata(routeOptionsKey, metadata), ((target: object, key: string | symbol) =>
    TheRequest()(target, key, 0)) as MethodDecorator);
}
