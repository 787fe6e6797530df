import { Delete, Get, Head, Patch, Post, Put, SetMetadata, applyDecorators } from '@nestjs/common';

/**
 * Who may call a route. Every route says so, and the gateway's guard refuses what it does not name:
 * guest — anybody; the handler itself tells guests apart (GET /1.0, public images, POST certificates, operations by secret);
 * trusted — any trusted caller; lists filter by project themselves;
 * project — a caller that may touch the project of ?project=;
 * admin — unrestricted callers only;
 * local — the unix socket only (/internal).
 */
export type Access = 'guest' | 'trusted' | 'project' | 'admin' | 'local';

export interface RouteOptions {
  access: Access;
  /** 'json' (default): body parsed and bounded at 16 MiB; 'stream': handed over unread. */
  body?: 'json' | 'stream';
  /** Needs no database: served while the daemon is starting or stopping. */
  always?: boolean;
}

export const routeOptionsKey = 'muster:route';

const verbs = { GET: Get, POST: Post, PUT: Put, PATCH: Patch, DELETE: Delete, HEAD: Head } as const;

/** `@Route('GET', '/1.0/profiles/:name', { access: 'project' })` on a controller's method, which takes one ApiRequest and returns a Reply. */
export function Route(method: keyof typeof verbs, path: string, options: RouteOptions): MethodDecorator {
  return applyDecorators(verbs[method](path), SetMetadata(routeOptionsKey, options));
}
