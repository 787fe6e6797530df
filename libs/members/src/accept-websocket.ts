import type { IncomingMessage } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { fault } from '#kit';
import type { Upgrade } from './streams.js';

/** As LXD's: it keeps middle boxes from forgetting a silent terminal. */
const pingMs = 10_000;

/** One frame at most: a terminal's or a control message. Files travel as bodies. */
const frameBytesMax = 16 * 2 ** 20;

const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false, maxPayload: frameBytesMax });

/** @throws Fault invalid when the request is no websocket handshake; the connection is then still the caller's to answer */
export function checkHandshake({ method, headers }: Upgrade['request']): void {
  const version = headers['sec-websocket-version'];
  const versionKnown = version === '13' || version === '8';
  if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket' || !headers['sec-websocket-key'] || !versionKnown) {
    throw fault.invalid('Not a websocket handshake');
  }
}

/**
 * Finishes a client's websocket handshake. The socket is pinged every 10 s until it closes. Errors of the connection end in its `close` event.
 * @throws Fault invalid as checkHandshake does
 */
export function acceptWebSocket(upgrade: Upgrade, accepted: (socket: WebSocket) => void): void {
  checkHandshake(upgrade.request);
  // ws reads method and headers only.
  server.handleUpgrade(upgrade.request as IncomingMessage, upgrade.socket, upgrade.head, (socket) => {
    const timer = setInterval(() => socket.ping(), pingMs);
    timer.unref();
    socket.on('close', () => clearInterval(timer));
    socket.on('error', () => socket.terminate());
    accepted(socket);
  });
}
