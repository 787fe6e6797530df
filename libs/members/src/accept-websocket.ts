import type { IncomingMessage } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { fault } from '#kit';
import type { Upgrade } from './streams.js';

/** As LXD's: it keeps middle boxes from forgetting a silent terminal. */
const pingMs = 10_000;

/** One frame at most: a terminal's or a control message. Files travel as bodies. */
const frameBytesMax = 16 * 2 ** 20;

const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false, maxPayload: frameBytesMax });

/**
 * Finishes a client's websocket handshake. The socket is pinged every 10 s until it closes. Errors of the connection end in its `close` event.
 * @throws Fault invalid when the request is no websocket handshake; the socket is then still the caller's to answer
 */
export function acceptWebSocket(upgrade: Upgrade, accepted: (socket: WebSocket) => void): void {
  const { headers, method } = upgrade.request;
  const key = headers['sec-websocket-key'];
  const version = headers['sec-websocket-version'];
  if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket' || !key || (version !== '13' && version !== '8')) {
    throw fault.invalid('Not a websocket handshake');
  }
  // ws reads method and headers only.
  server.handleUpgrade(upgrade.request as IncomingMessage, upgrade.socket, upgrade.head, (socket) => {
    const timer = setInterval(() => socket.ping(), pingMs);
    timer.unref();
    socket.on('close', () => clearInterval(timer));
    socket.on('error', () => socket.terminate());
    accepted(socket);
  });
}
