import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type WebSocket, WebSocketServer } from 'ws';
import { peerCredentials } from '#host-kit';
import { systemClock, type Logger } from '#kit';
import type { GuestAnswer } from './guest-api.js';
import type { GuestListeners } from './guest-events.js';
import { Pace, type Rate } from './rate.js';

/**
 * What one guest may have. Beyond it a guest slows itself and nobody else: requests wait, and one that connects or asks still faster finds nobody
 * listening for a while, so that it costs us nothing.
 */
const limits = {
  connections: 32,
  /** Of one connection, asked and not answered: more is no client of ours. */
  pending: 8,
  requests: { burst: 100, perSecond: 20, waitMsMax: 5_000 } satisfies Rate,
  connects: { burst: 200, perSecond: 50, waitMsMax: 1_000 } satisfies Rate,
  /** Twice as long each time, for one that does not calm down meanwhile. */
  rest: { firstMs: 1_000, longestMs: 8_000, calmMs: 5_000 },
  /** That a listener for events has not read. */
  unreadBytes: 256 * 1024,
  /** Frames that a listener may send: it has nothing to say. */
  frames: 100,
};

const httpOptions = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 8 * 1024,
};
const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false, maxPayload: 4 * 1024 });

/** Whom a socket belongs to. */
export interface Guest {
  /** The id that its root has on this host now; undefined: it is gone. */
  rootUid(): number | undefined;
  /** @param url path and query */
  answer(url: string): Promise<GuestAnswer>;
  readonly listeners: GuestListeners;
}

/** The socket that one instance sees as /dev/lxd/sock: who connects to it is of that instance, since it is shown to no other. */
export class GuestSocket {
  readonly #connections = new Set<Socket>();
  readonly #requests = new Pace(limits.requests, systemClock);
  readonly #connects = new Pace(limits.connects, systemClock);
  readonly #pending = new WeakMap<Duplex, number>();
  #server?: Server;
  #rest?: NodeJS.Timeout;
  #restMs = 0;
  #restedUntil = -Infinity;
  #closed = false;

  constructor(
    private readonly path: string,
    private readonly guest: Guest,
    private readonly log: Logger,
  ) {}

  /** @throws the system's error */
  async listen(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer(httpOptions);
    server.on('connection', (socket: Socket) => this.#connected(socket));
    server.on('drop', () => this.#count());
    server.on('request', (request, response) => this.#request(request, response).catch(() => response.destroy()));
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket, head).catch(() => socket.destroy()),
    );
    server.maxConnections = limits.connections;
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // Others than root may connect, and are told that they may not ask.
      server.listen({ path: this.path, readableAll: true, writableAll: true }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.log.warn({ err: error, path: this.path }, 'the socket of a guest failed'));
        resolve();
      });
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#rest);
    this.#server?.close();
    for (const socket of this.#connections) socket.destroy();
  }

  #connected(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#connections.delete(socket));
    this.#count();
  }

  #count(): void {
    if (this.#connects.next() > 0) this.#takeRest();
  }

  #takeRest(): void {
    if (this.#rest) return;
    const { firstMs, longestMs, calmMs } = limits.rest;
    const now = performance.now();
    this.#restMs = now < this.#restedUntil + calmMs ? Math.min(this.#restMs * 2, longestMs) : firstMs;
    this.#restedUntil = now + this.#restMs;
    this.#server?.close();
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      if (this.#closed) return;
      this.listen().catch((error: unknown) => this.log.warn({ err: error, path: this.path }, 'could not listen to a guest again'));
    }, this.#restMs);
    this.#rest.unref();
  }

  async #request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#ask(request, request.socket);
    if (!answer || response.destroyed) return;
    if ('events' in answer) return this.#stream(response, answer.events);
    if (answer.status !== 200) {
      response.writeHead(answer.status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' });
      response.end(`${answer.body}\n`);
      return;
    }
    response.writeHead(200, answer.headers);
    if (typeof answer.body === 'string') response.end(answer.body);
    else this.#send(answer.body, response);
  }

  #send(body: Readable, response: ServerResponse): void {
    pipeline(body, response, (error) => {
      if (error) this.log.debug({ err: error }, 'a guest did not take all of an image');
    });
  }

  /** Undefined: the connection is done with. */
  async #ask(request: IncomingMessage, socket: Duplex): Promise<GuestAnswer | undefined> {
    const pending = (this.#pending.get(socket) ?? 0) + 1;
    this.#pending.set(socket, pending);
    if (pending > limits.pending) {
      this.#takeRest();
      return void socket.destroy();
    }
    try {
      const waitMs = this.#requests.next();
      if (waitMs > 0) await sleep(waitMs, undefined, { ref: false });
      if (socket.destroyed) return undefined;
      const peer = peerCredentials(socket as Socket);
      const root = this.guest.rootUid();
      if (!peer || root === undefined) return void socket.destroy();
      if (peer.uid !== root) return { status: 401, body: 'Access denied for non-root user' };
      return await this.guest.answer(request.url ?? '/');
    } finally {
      this.#pending.set(socket, this.#pending.get(socket)! - 1);
    }
  }

  /** Events without a websocket: lines of JSON until one of the two goes. */
  #stream(response: ServerResponse, types: ReadonlySet<string>): void {
    // The end of the connection is the end of it: in chunks, a simple client would see their lengths between the lines.
    response.removeHeader('transfer-encoding');
    response.writeHead(200, { 'content-type': 'application/json', 'x-content-type-options': 'nosniff', connection: 'close' });
    response.flushHeaders();
    const send = (text: string): void => {
      if (response.writableLength > limits.unreadBytes) response.destroy();
      else response.write(`${text}\n`);
    };
    const listening = this.guest.listeners.add({ types, send });
    response.once('close', () => listening[Symbol.dispose]());
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const answer = await this.#ask(request, socket);
    if (!answer || socket.destroyed) return;
    if (!('events' in answer) || request.headers.upgrade?.toLowerCase() !== 'websocket') {
      const [status, text] = answer.status === 200 ? [400, 'bad request'] : [answer.status, answer.body];
      socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${text}\n`);
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (client) => this.#follow(client, answer.events));
  }

  #follow(client: WebSocket, types: ReadonlySet<string>): void {
    let frames = 0;
    const heard = (): void => {
      if (++frames > limits.frames) client.terminate();
    };
    client.on('message', heard).on('ping', heard).on('pong', heard);
    client.on('error', () => client.terminate());
    const send = (text: string): void => {
      if (client.bufferedAmount > limits.unreadBytes) client.terminate();
      else client.send(text);
    };
    const listening = this.guest.listeners.add({ types, send });
    client.once('close', () => listening[Symbol.dispose]());
  }
}
