import type { ServerOptions } from 'node:http';

/** Image properties travel in headers. */
export const maxHeaderBytes = 64 * 1024;

/**
 * So that a silent or slow client holds nothing but its own socket: headers and handshakes have a time; bodies have none (an image may take hours), but
 * a JSON body must keep coming (caller/read-json.ts). Keep-alive is longer than the clients' own, or they would write into a closing connection.
 */
export const serverOptions: ServerOptions = {
  headersTimeout: 20_000,
  requestTimeout: 0,
  keepAliveTimeout: 150_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: maxHeaderBytes,
};

export const handshakeTimeoutMs = 10_000;
/** Of one listener; beyond it, new connections are dropped at once rather than the process running out of descriptors. */
export const connectionsMax = 10_000;
