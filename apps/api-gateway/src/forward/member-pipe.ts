import https, { Agent } from 'node:https';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { pipeline, type Duplex } from 'node:stream';
import tls from 'node:tls';
import { splitAddress, tlsOptions, type MemberTls } from '#cluster/host';
import { fault } from '#kit';
import { answerHeaders } from './headers.js';

const connectMs = 3_000;

/** To whom, and what for. */
export interface Handover {
  address: string;
  tls: MemberTls;
  /** Path and query, as the owner shall see them. */
  url: string;
  headers: OutgoingHttpHeaders;
}

/** Whole requests to other members, as they are: bodies and answers flow with back-pressure, nothing is held. */
export class MemberPipe {
  #agent: { agent: Agent; certificate: string } | undefined;

  /** Resolves once the answer has gone out, or broken off. @throws Fault unavailable while the client can still be told */
  send(request: IncomingMessage, response: ServerResponse, to: Handover): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // A kept connection may just be closing, and a request that was sent may have been done: only a read is asked again.
    const again = request.method === 'GET' || request.method === 'HEAD';
    const attempt = (kept: boolean): void => {
      const upstream = https.request(
        {
          ...splitAddress(to.address),
          path: to.url,
          method: request.method,
          headers: to.headers,
          agent: kept ? this.#kept(to.tls) : false,
          ...tlsOptions(to.tls),
        },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, answerHeaders(answer.headers));
          pipeline(answer, response, () => resolve());
        },
      );
      const slow = setTimeout(() => upstream.destroy(new Error('cannot be reached in time')), connectMs);
      upstream.once('socket', (socket) => (socket.connecting ? socket.once('secureConnect', () => clearTimeout(slow)) : clearTimeout(slow)));
      upstream.on('error', (cause) => {
        clearTimeout(slow);
        if (kept && upstream.reusedSocket && !response.headersSent) return attempt(false);
        if (response.headersSent || response.destroyed) {
          response.destroy();
          return resolve();
        }
        reject(fault.unavailable('The cluster member cannot be reached', { cause, retryAfterS: 2 }));
      });
      // Who goes away before the answer wanted it for itself alone; what was accepted goes on at the owner.
      response.once('close', () => (response.writableFinished ? undefined : upstream.destroy()));
      if (again) upstream.end();
      else pipeline(request, upstream, () => undefined);
    };
    attempt(again);
    return promise;
  }

  /** A connection that leaves HTTP: the handshake is the owner's, and so is every byte after it. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, to: Handover): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const upstream = tls.connect({ ...splitAddress(to.address), ...tlsOptions(to.tls), timeout: connectMs }, () => {
      upstream.setTimeout(0);
      upstream.setNoDelay(true);
      const lines = Object.entries({ ...to.headers, host: to.address, connection: 'Upgrade', upgrade: request.headers.upgrade ?? 'websocket' });
      const text = lines.flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => `${name}: ${String(one)}\r\n`)).join('');
      upstream.write(`GET ${to.url} HTTP/1.1\r\n${text}\r\n`);
      if (head.length > 0) upstream.write(head);
      pipeline(socket, upstream, () => undefined);
      pipeline(upstream, socket, () => undefined);
      resolve();
    });
    upstream.once('timeout', () => upstream.destroy(new Error('cannot be reached in time')));
    upstream.on('error', (cause) => reject(fault.unavailable('The cluster member cannot be reached', { cause, retryAfterS: 2 })));
    return promise;
  }

  close(): void {
    this.#agent?.agent.destroy();
  }

  #kept({ certificate = '' }: MemberTls): Agent {
    if (this.#agent?.certificate !== certificate) {
      this.#agent?.agent.destroy();
      this.#agent = { agent: new Agent({ keepAlive: true, maxFreeSockets: 16 }), certificate };
    }
    return this.#agent!.agent;
  }
}
