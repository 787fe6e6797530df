import type { Readable, Writable } from 'node:stream';
import type { RawData, WebSocket } from 'ws';

const highWaterBytes = 1024 * 1024;
const lowWaterBytes = 256 * 1024;

/**
 * Sends a stream as binary frames, no faster than the client takes them, and an empty text frame at its end. Resolves when all was handed to the
 * connection, or when that is gone; a stream that nobody takes any more is drained and thrown away, so that its writer does not block.
 */
export function sendStream(source: Readable, socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      socket.off('close', gone);
      resolve();
    };
    const gone = (): void => {
      source.off('data', send);
      source.resume();
      over();
    };
    const send = (chunk: Buffer): void => {
      if (socket.readyState !== socket.OPEN) return;
      socket.send(chunk, { binary: true }, () => {
        if (source.isPaused() && socket.bufferedAmount < lowWaterBytes) source.resume();
      });
      if (socket.bufferedAmount > highWaterBytes) source.pause();
    };
    socket.once('close', gone);
    source.on('data', send);
    source.on('error', () => {});
    source.once('close', () => {
      if (socket.readyState !== socket.OPEN) return over();
      socket.send('', { binary: false }, over);
    });
    if (socket.readyState !== socket.OPEN) gone();
  });
}

/** Writes what a client sends into a stream, no faster than that takes it. An empty text frame, or the end of the connection, is the end. */
export function receiveStream(socket: WebSocket, target: Writable): void {
  const end = (): void => void target.end();
  target.on('error', () => {});
  socket.on('message', (data: RawData, binary: boolean) => {
    const bytes = data as Buffer;
    if (!binary && bytes.length === 0) return end();
    if (target.writableEnded || target.destroyed) return;
    if (target.write(bytes)) return;
    socket.pause();
    target.once('drain', () => socket.resume());
    target.once('close', () => socket.resume());
  });
  socket.once('close', end);
  socket.resume();
}
