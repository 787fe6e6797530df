import { mayTouch, type Access } from '#http-kit';
import { fault } from '#kit';
import type { KnownCaller } from './callers.js';

/** What a route's check may look at. */
export interface Wanted {
  project: string;
  allProjects: boolean;
  /** core.metrics_authentication is on. */
  metricsNeedTrust: boolean;
}

/** @throws Fault forbidden, without saying what would have been there */
export function checkAccess(access: Access, { caller, metrics }: KnownCaller, wanted: Wanted): void {
  if (!allowed(access)) throw fault.forbidden('not authorized');

  function allowed(it: Access): boolean {
    switch (it) {
      case 'guest':
        return true;
      case 'trusted':
        return caller.trusted;
      case 'project':
        return caller.trusted && (wanted.allProjects || mayTouch(caller, wanted.project));
      case 'admin':
        return caller.admin;
      case 'metrics':
        return caller.admin || metrics || !wanted.metricsNeedTrust || (caller.trusted && mayTouch(caller, wanted.project));
      case 'local':
        return caller.local;
    }
  }
}
