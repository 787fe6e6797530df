import type { Identity } from '#replica/state';

/** Who is calling, as the gateway's guard established it. */
export interface Caller {
  identity: Identity;
  /** Trusted: the unix socket, a trusted certificate, or another member. */
  trusted: boolean;
  /** May do everything. A restricted certificate is trusted without it. */
  admin: boolean;
  /** Projects a restricted certificate may touch; undefined: all. */
  projects?: readonly string[];
  /** SHA-256 of the client certificate, if it showed one. */
  fingerprint?: string;
  /** DER of it, for POST /1.0/certificates. */
  certificate?: Buffer;
  /** Came over the local socket: /internal is served only there. */
  local: boolean;
}

export function mayTouch(caller: Caller, project: string): boolean {
  return caller.admin || (caller.trusted && (caller.projects ?? []).includes(project));
}
