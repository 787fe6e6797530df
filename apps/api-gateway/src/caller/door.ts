import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { RouteOptions } from '#http-kit';
import { fault } from '#kit';
import { checkAccess } from './access.js';
import type { Callers } from './callers.js';
import { GatewayRequest } from './gateway-request.js';
import { checkPhase, type Phase } from './phase.js';

export interface DoorOptions {
  callers: Callers;
  phase: () => Phase;
  /** core.metrics_authentication. */
  metricsNeedTrust: () => boolean;
}

/** What every request passes, upgrades too: is the daemon up, who is it, may they. The body is still unread then. */
export class Door {
  constructor(private readonly options: DoorOptions) {}

  /** @throws Fault unavailable, forbidden, invalid */
  enter(
    raw: IncomingMessage,
    answer: ServerResponse | Duplex,
    route: Pick<RouteOptions, 'access' | 'always'>,
    params?: Record<string, string>,
  ): GatewayRequest {
    const phase = this.options.phase();
    const known = this.options.callers.of(raw, phase !== 'starting');
    const request = new GatewayRequest(raw, answer, known.caller, params);
    const { method, path } = request;
    if (phase === 'starting') checkPhase(phase, { method, path, always: route.always ?? false, local: known.caller.local });
    // Asked for with X-LXD-authenticated, a guest's view is no answer.
    const guestRefused = !known.caller.trusted && raw.headers['x-lxd-authenticated'] !== undefined;
    if (guestRefused) throw fault.forbidden('not authorized');
    checkAccess(route.access, known, {
      project: request.project,
      allProjects: request.allProjects,
      metricsNeedTrust: this.options.metricsNeedTrust(),
    });
    checkPhase(phase, { method, path, always: route.always ?? false, local: known.caller.local });
    return request;
  }
}
