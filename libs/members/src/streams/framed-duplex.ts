import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { fault } from '#kit';

/**
 * A stream over a unix socket, in frames: a closed socket says nothing about why, and a broken upload must not look like a short one.
 *
 *   u32 length, bytes    length 1 … 2³²-2
 *   0                    end of this direction
 *   2³²-1                broken: whoever sends it sends no more
 */
const endFrame = 0;
const brokenFrame = 0xffff_ffff;
const headBytesMax = 8_192;

/** Where a stream is to be had: the unix socket of the process that offered it, and the path there. */
export interface StreamAddress {
  socket: string;
  path: string;
}

/** Either end of it. Opened by address it connects first; what is written meanwhile waits. */
export class FramedDuplex extends Duplex {
  #socket: Socket | undefined;
  #frameLeft = 0;
  #header = Buffer.alloc(0);
  #ended = false;
  #finished = false;

  constructor(private readonly from: { socket: Socket; head: Buffer } | StreamAddress) {
    super({ allowHalfOpen: true });
  }

  override _construct(callback: (error?: Error | null) => void): void {
    if ('head' in this.from) {
      this.#attach(this.from.socket, this.from.head);
      return callback();
    }
    shakeHands(this.from).then(
      ({ socket, head, readable }) => {
        this.#attach(socket, head);
        if (readable) this.end();
        callback();
      },
      (error: Error) => callback(error),
    );
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (chunk.length === 0) return callback();
    const socket = this.#socket!;
    socket.cork();
    socket.write(length(chunk.length));
    // The callback waits for the kernel's buffer: that is the back-pressure.
    socket.write(chunk, callback);
    socket.uncork();
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#finished = true;
    this.#socket!.write(length(endFrame), callback);
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const socket = this.#socket;
    if (socket && !socket.destroyed) {
      // What is still in the buffer goes out, then the end; a peer that does not read is not waited for.
      if (this.#finished) socket.end();
      else socket.end(length(brokenFrame));
      socket.resume();
      setTimeout(() => socket.destroy(), 5_000).unref();
    }
    callback(error);
  }

  #attach(socket: Socket, head: Buffer): void {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('error', (error) => this.destroy(brokeOff(error)));
    const gone = (): void => {
      if (!this.#ended) this.destroy(brokeOff());
    };
    socket.on('end', gone);
    socket.on('close', gone);
    if (head.length > 0) this.#receive(head);
  }

  #receive(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0 && !this.#ended && !this.destroyed) {
      if (this.#frameLeft > 0) {
        const part = rest.subarray(0, this.#frameLeft);
        this.#frameLeft -= part.length;
        rest = rest.subarray(part.length);
        if (!this.push(part)) this.#socket!.pause();
        continue;
      }
      const missing = 4 - this.#header.length;
      this.#header = Buffer.concat([this.#header, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.#header.length < 4) return;
      const frame = this.#header.readUInt32BE();
      this.#header = Buffer.alloc(0);
      if (frame === brokenFrame) this.destroy(brokeOff());
      else if (frame === endFrame) {
        this.#ended = true;
        this.push(null);
      } else this.#frameLeft = frame;
    }
  }
}

const length = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
};

const brokeOff = (cause?: unknown): Error => fault.unavailable('Stream broke off', { cause });

/** Upgrades an HTTP/1.1 connection by hand: both directions must be able to end alone, which node:http does not offer its clients. */
async function shakeHands({ socket: path, path: url }: StreamAddress): Promise<{ socket: Socket; head: Buffer; readable: boolean }> {
  const socket = connect({ path, allowHalfOpen: true });
  const { promise, resolve, reject } = Promise.withResolvers<{ socket: Socket; head: Buffer; readable: boolean }>();
  let received = Buffer.alloc(0);
  const fail = (error: Error): void => {
    socket.destroy();
    reject(error);
  };
  const onData = (bytes: Buffer): void => {
    received = Buffer.concat([received, bytes]);
    const end = received.indexOf('\r\n\r\n');
    if (end < 0) return received.length > headBytesMax ? fail(brokeOff()) : undefined;
    const headers = received.subarray(0, end).toString('latin1').toLowerCase();
    if (!headers.startsWith('http/1.1 101')) return fail(fault.notFound('Stream not found'));
    socket.off('data', onData).off('error', onError).off('end', onEnd);
    socket.pause();
    resolve({ socket, head: received.subarray(end + 4), readable: headers.includes('\r\nmuster-stream: readable') });
  };
  const onError = (error: Error): void => fail(fault.unavailable('Service is not reachable', { cause: error, retryAfterS: 1 }));
  const onEnd = (): void => fail(brokeOff());
  socket.on('data', onData).on('error', onError).on('end', onEnd);
  socket.write(`GET ${url} HTTP/1.1\r\nHost: muster\r\nConnection: Upgrade\r\nUpgrade: muster-stream\r\n\r\n`);
  return promise;
}
