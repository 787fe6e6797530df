import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import { fault, Fault } from '#kit';
import type { Streams } from '../streams.js';
import { FramedDuplex } from './framed-duplex.js';
import { LocalStreams } from './local-streams.js';

const prefix = '/streams/';

/**
 * Streams between the processes of one member. A ticket names the socket of the process that offered, so either side can offer to the other; what
 * this process offered itself is opened as it is.
 */
export class SocketStreams implements Streams {
  readonly #local = new LocalStreams();
  #server: Server | undefined;

  /** @param path unix socket of this process for streams; only its owner may open it */
  constructor(private readonly path: string) {}

  offer(stream: Readable | Duplex): string {
    return `${Buffer.from(this.path).toString('base64url')}.${this.#local.offer(stream)}`;
  }

  open(ticket: string): Readable | Duplex {
    const [socket, id, ...more] = ticket.split('.');
    if (!socket || !id || more.length > 0) throw fault.notFound('Stream not found');
    const path = Buffer.from(socket, 'base64url').toString();
    return path === this.path ? this.#local.open(id) : new FramedDuplex({ socket: path, path: prefix + id });
  }

  async listen(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer((_request, response) => response.writeHead(404).end());
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => this.#upgrade(request, socket as Socket, head));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.path, resolve);
    });
    chmodSync(this.path, 0o600);
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    let stream: Readable | Duplex;
    try {
      stream = this.#local.open(String(request.url).slice(prefix.length));
    } catch (error) {
      socket.end(`HTTP/1.1 ${Fault.from(error).kind === 'notFound' ? '404 Not Found' : '500 Internal Server Error'}\r\nConnection: close\r\n\r\n`);
      return;
    }
    const duplex = 'write' in stream && stream.writable;
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: muster-stream\r\nMuster-Stream: ${duplex ? 'duplex' : 'readable'}\r\n\r\n`,
    );
    const framed = new FramedDuplex({ socket, head });
    // A failure of either is told to the other by pipeline: it destroys both.
    pipeline(stream, framed, () => {});
    if (duplex) pipeline(framed, stream as Duplex, () => {});
    else framed.resume();
  }
}
