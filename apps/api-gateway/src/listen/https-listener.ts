import https from 'node:https';
import type { RequestListener, Server, ServerOptions } from 'node:http';
import type { Socket } from 'node:net';
import { formatAddress, parseListenAddress } from '#server/model';
import { fault, type Logger } from '#kit';
import { connectionsMax, handshakeTimeoutMs } from './limits.js';
import { type OnePort, sortConnection } from './one-port.js';

export interface HttpsOptions {
  /** PEM. */
  certificate: string;
  key: string;
  options: ServerOptions;
  handle: RequestListener;
  prepare: (server: Server) => void;
  log: Logger;
  /** Who else is reached at this port. */
  onePort?: OnePort;
}

/** The HTTPS listener, which can move while it serves: connections of an earlier address go on until their clients are done. */
export class HttpsListener {
  #current: { address: string; server: https.Server } | undefined;
  readonly #leaving = new Set<https.Server>();
  #pair: Pick<HttpsOptions, 'certificate' | 'key'>;

  constructor(private readonly options: HttpsOptions) {
    this.#pair = options;
  }

  /** For connections from now on; those that are open go on. */
  useCertificate(pair: Pick<HttpsOptions, 'certificate' | 'key'>): void {
    this.#pair = pair;
    for (const server of [this.#current?.server, ...this.#leaving])
      server?.setSecureContext({ cert: pair.certificate, key: pair.key, minVersion: 'TLSv1.3' });
  }

  get address(): string {
    return this.#current?.address ?? '';
  }

  /** The port in fact listened on, for tests that asked for port 0. */
  get port(): number | undefined {
    const at = this.#current?.server.address();
    return typeof at === 'object' && at ? at.port : undefined;
  }

  /** @throws Fault invalid when it cannot be bound; what was listened on before stays */
  async listen(address: string): Promise<void> {
    const before = this.#current;
    if (address === (before?.address ?? '')) return;
    if (address === '') return this.#leave(before);
    try {
      this.#current = { address, server: await this.#bind(address) };
      this.#leave(before);
    } catch (error) {
      // The same port on other addresses: the old one has to go first.
      if (!before || !isInUse(error) || parseListenAddress(address).port !== parseListenAddress(before.address).port)
        throw this.#refused(address, error);
      await this.#swap(before, address);
    }
    this.options.log.info({ address }, 'listening on HTTPS');
  }

  async #swap(before: { address: string; server: https.Server }, address: string): Promise<void> {
    this.#leave(before);
    this.#current = undefined;
    try {
      this.#current = { address, server: await this.#bind(address) };
    } catch (error) {
      this.#current = { address: before.address, server: await this.#bind(before.address) };
      throw this.#refused(address, error);
    }
  }

  #leave(before: { server: https.Server } | undefined): void {
    if (!before) return;
    if (this.#current?.server === before.server) this.#current = undefined;
    this.#leaving.add(before.server);
    before.server.close(() => this.#leaving.delete(before.server));
    before.server.closeIdleConnections();
  }

  #bind(address: string): Promise<https.Server> {
    const { options, handle, prepare, onePort } = this.options;
    const { certificate, key } = this.#pair;
    const server = https.createServer(
      {
        ...options,
        cert: certificate,
        key,
        requestCert: true,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
        handshakeTimeout: handshakeTimeoutMs,
        // Clients of LXD speak HTTP/1.1 here: websockets need it.
        ALPNProtocols: ['http/1.1'],
        // So that nothing of a connection is read before it is known whose it is.
        pauseOnConnect: onePort !== undefined,
      },
      handle,
    );
    const watched = cutSilent(server);
    if (onePort) sortFirst(server, onePort, watched);
    else server.on('connection', watched);
    server.maxConnections = connectionsMax;
    prepare(server);
    const { host, port } = parseListenAddress(address);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
        server.off('error', reject);
        resolve(server);
      });
    });
  }

  #refused(address: string, error: unknown): Error {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    const { host, port } = parseListenAddress(address);
    return fault.invalid(`Cannot listen on ${formatAddress(host, port)}: ${why}`, { cause: error });
  }

  /** Stops accepting; the connections that are left get until `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#leave(this.#current);
    await Promise.all([...this.#leaving].map((server) => drain(server, graceMs)));
  }
}

/** Waits until a server that accepts no more has no connection left, and cuts what is left after `graceMs`. */
export async function drain(server: Server, graceMs: number): Promise<void> {
  const drained = new Promise<void>((resolve) => {
    if (server.listening) server.close(() => resolve());
    else server.getConnections((_error, count) => (count > 0 ? server.once('close', resolve) : resolve()));
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await drained;
  clearTimeout(timer);
}

/** Between the port and TLS. */
function sortFirst(server: https.Server, port: OnePort, watched: (socket: Socket) => void): void {
  const startTls = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  const api = (socket: Socket): void => {
    watched(socket);
    for (const listener of startTls) listener.call(server, socket);
  };
  server.on('connection', (socket: Socket) => {
    if (port.wanted()) return void sortConnection(socket, port, api);
    api(socket);
    socket.resume();
  });
}

const isInUse = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EADDRINUSE';

/**
 * A connection that has no handshake behind it in time is cut. Node's own handshakeTimeout does not see to it where connections come in paused: one that
 * said nothing stayed open for ever. Answers what is to be called for each connection that this server's TLS gets.
 */
function cutSilent(server: https.Server): (socket: Socket) => void {
  const waiting = new Map<string, NodeJS.Timeout>();
  const keyOf = ({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string => `${remoteAddress} ${remotePort}`;
  const forget = (key: string): void => {
    clearTimeout(waiting.get(key));
    waiting.delete(key);
  };
  server.on('secureConnection', (socket) => forget(keyOf(socket)));
  return (socket) => {
    const key = keyOf(socket);
    forget(key);
    waiting.set(
      key,
      setTimeout(() => socket.destroy(), handshakeTimeoutMs),
    );
    socket.once('close', () => forget(key));
  };
}
