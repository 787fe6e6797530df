import { Readable } from 'node:stream';
import type { WebSocket } from 'ws';
import { fault } from '#kit';

/** Frames that came and were not yet read: above this the other side is made to wait. */
const waitingBytesMax = 4 * 1024 * 1024;

/**
 * The data websocket of a migration as LXD uses it: bytes in binary frames, and an empty text frame where one stream ends and the next begins, each way for
 * itself. Streams follow each other on the one connection.
 */
export class FrameLink {
  readonly #waiting: (Buffer | 'end')[] = [];
  #waitingBytes = 0;
  #wake?: () => void;
  #broken?: Error;
  #paused = false;

  constructor(private readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.#waiting.push(isBinary ? data : 'end');
      this.#waitingBytes += data.length;
      if (this.#waitingBytes > waitingBytesMax && !this.#paused) {
        this.#paused = true;
        socket.pause();
      }
      this.#wake?.();
    });
    const broken = (): void => {
      this.#broken ??= fault.unavailable('The data connection of the migration was lost');
      this.#wake?.();
    };
    socket.once('close', broken);
    socket.on('error', broken);
  }

  /** The next stream from the other side. It must be read to its end before another is asked for. Breaks when the connection does. */
  stream(): Readable {
    return Readable.from(this.#frames(), { objectMode: false, highWaterMark: 256 * 1024 });
  }

  async *#frames(): AsyncGenerator<Buffer> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next === undefined) {
        if (this.#broken) throw this.#broken;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      if (next === 'end') return;
      this.#waitingBytes -= next.length;
      if (this.#paused && this.#waitingBytes < waitingBytesMax / 2) {
        this.#paused = false;
        this.socket.resume();
      }
      if (next.length > 0) yield next;
    }
  }

  /** A whole stream that is short: a JSON document. @throws Fault tooLarge, unavailable */
  async text(maxBytes: number): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of this.#frames()) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw fault.tooLarge('The other server describes too much');
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /** Sends a frame; resolves when the connection has taken it. */
  send(chunk: Buffer): Promise<void> {
    return this.#send(chunk, true);
  }

  /** Ends the stream that goes to the other side. */
  end(): Promise<void> {
    return this.#send(Buffer.alloc(0), false);
  }

  close(): void {
    this.socket.close(1000);
    // One that does not answer is not waited for.
    setTimeout(() => this.socket.terminate(), 2_000).unref();
  }

  #send(chunk: Buffer, binary: boolean): Promise<void> {
    return new Promise((resolve, reject) =>
      this.socket.send(chunk, { binary }, (error) =>
        error ? reject(fault.unavailable('The data connection of the migration was lost', { cause: error })) : resolve(),
      ),
    );
  }
}
