import type { IncomingHttpHeaders } from 'node:http';
import type { Identity } from '#replica/state';

/** The headers in which one member tells another whose request it hands over. Only a cluster certificate may set them. */
export const forwardedHeaders = {
  address: 'x-lxd-forwarded-address',
  username: 'x-lxd-forwarded-username',
  protocol: 'x-lxd-forwarded-protocol',
} as const;

const names = Object.values(forwardedHeaders);

/** For everybody else, the unix socket included: nobody downstream may mistake them for the truth. */
export function stripForwarded(headers: IncomingHttpHeaders): void {
  for (const name of names) if (headers[name] !== undefined) delete headers[name];
}

/** Who asked the member that forwards; undefined when the member asks for itself. */
export function forwardedIdentity(headers: IncomingHttpHeaders): Identity | undefined {
  const [protocol, username, address] = [headers[forwardedHeaders.protocol], headers[forwardedHeaders.username], headers[forwardedHeaders.address]];
  if (protocol !== 'unix' && protocol !== 'tls') return undefined;
  return { protocol, username: String(username ?? ''), address: String(address ?? '') };
}
