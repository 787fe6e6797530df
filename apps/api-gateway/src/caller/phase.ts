import { fault } from '#kit';

/** starting: the database is not up yet; stopping: no new writes. */
export type Phase = 'starting' | 'running' | 'stopping';

const openWhileStopping = /^\/(internal(\/|$)|1\.0\/(events|operations)(\/|$))|^\/1\.0$/;

/** @throws Fault unavailable, in LXD's words */
export function checkPhase(phase: Phase, request: { method: string; path: string; always: boolean; local: boolean }): void {
  if (phase === 'running' || request.always) return;
  if (phase === 'starting') {
    if (request.local && request.path.startsWith('/internal/')) return;
    throw fault.unavailable('LXD daemon setup in progress', { retryAfterS: 1 });
  }
  if (request.method !== 'GET' && !openWhileStopping.test(request.path)) throw fault.unavailable('LXD is shutting down');
}
