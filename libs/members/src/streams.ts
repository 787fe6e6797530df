import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

/**
 * Bytes between the gateway and the agent of one member travel beside the calls. Either side offers a stream and puts the one-use ticket into its
 * message; the other opens it. In one process that is the object itself; between processes an upgraded HTTP/1.1 connection to the agent's socket.
 */
export interface Streams {
  /** Good for one open within 30 s; destroyed if nobody comes. */
  offer(stream: Readable | Duplex): string;
  /** @throws Fault notFound for an unknown or used ticket */
  open(ticket: string): Readable | Duplex;
}

/** A client's websocket request, before its handshake: whoever owns the operation answers it. */
export interface Upgrade {
  /** As much of it as a handshake needs: it may come from another process. */
  request: Pick<IncomingMessage, 'method' | 'url' | 'headers'>;
  socket: Duplex;
  head: Buffer;
}
