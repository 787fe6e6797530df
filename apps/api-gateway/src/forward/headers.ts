import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Identity } from '#replica/state';
import { forwardedHeaders } from '../caller/forwarded.js';

/** Marks a request that was handed over once: it is not handed over again. */
export const hopHeader = 'x-muster-forwarded';

/** Of one connection, not of the message (RFC 9110 §7.6.1). */
const hopByHop = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'host']);

/** What goes on to the owner: everything the client said, and who it is. */
export function headersFor(headers: IncomingHttpHeaders, identity: Identity, requestId: string): OutgoingHttpHeaders {
  const kept = Object.entries(headers).filter(([name]) => !hopByHop.has(name));
  return {
    ...Object.fromEntries(kept),
    [forwardedHeaders.protocol]: identity.protocol,
    [forwardedHeaders.username]: identity.username,
    [forwardedHeaders.address]: identity.address,
    [hopHeader]: '1',
    // The same trace on both members.
    traceparent: headers.traceparent ?? `00-${requestId}-${requestId.slice(0, 16)}-01`,
  };
}

export const answerHeaders = (headers: IncomingHttpHeaders): OutgoingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name)));
