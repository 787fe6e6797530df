import type { WebSocket } from 'ws';
import type { EventStream } from '../host/event-hub.js';

/** A client that was cut gets this long to take the closing frame. */
const closeMs = 5_000;

/** Frames handed to the connection and not yet taken by the kernel: few, so that a slow client's events wait in its queue, which is bounded. */
const bufferedMax = 64 * 1024;

/** Sends a stream's events until it ends or the client goes away. Never rejects. */
export async function pump(stream: EventStream, socket: WebSocket): Promise<void> {
  socket.on('close', () => stream.close());
  // Also a client that takes nothing any more, so that the last `send` never comes back.
  void stream.ended.then(() => setTimeout(() => socket.terminate(), closeMs).unref());
  for await (const { json } of stream) {
    if (socket.readyState !== socket.OPEN) break;
    if (socket.bufferedAmount < bufferedMax) socket.send(json);
    else await new Promise<void>((resolve) => socket.send(json, () => resolve()));
  }
  socket.close(1001, stream.reason);
}
