import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ApiRequest, UpgradeOptions } from '#http-kit';
import type { Logger } from '#kit';
import type { Upgrade } from '#members';
import type { Door } from '../caller/door.js';
import { renderFault } from '../reply/envelope.js';
import { faultOf } from '../reply/fault-status.js';
import { matchPath, type PathPattern, pathPattern } from './path-pattern.js';

export interface UpgradeHandler extends UpgradeOptions {
  handle(request: ApiRequest, upgrade: Upgrade): void | Promise<void>;
}

/** Connections that leave HTTP: each goes to the controller method that declared its path with @UpgradeRoute, once it has passed the door. */
export class Upgrades {
  readonly #routes: { pattern: PathPattern; handler: UpgradeHandler }[];
  readonly #open = new Set<Duplex>();

  constructor(
    handlers: readonly UpgradeHandler[],
    private readonly door: Door,
    private readonly log: Logger,
    /** Takes what belongs to another member. */
    private readonly elsewhere: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<boolean> = () => Promise.resolve(false),
  ) {
    this.#routes = handlers.map((handler) => ({ pattern: pathPattern(handler.path), handler }));
  }

  /** For node:http's shouldUpgradeCallback: an Upgrade header on any other path (curl --http2) is no reason to leave HTTP. */
  wants = (request: IncomingMessage): boolean => this.find(pathOf(request)) !== undefined;

  find(path: string): { handler: UpgradeHandler; params: Record<string, string> } | undefined {
    for (const { pattern, handler } of this.#routes) {
      const params = matchPath(pattern, path);
      if (params) return { handler, params };
    }
    return undefined;
  }

  /** For the `upgrade` event. */
  handle = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    this.#open.add(socket);
    // A socket without a listener for its errors would end the process.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#open.delete(socket));
    void this.#enter(request, socket, head);
  };

  async #enter(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    let requestId = '';
    try {
      if (await this.elsewhere(request, socket, head)) return;
      const { handler, params } = this.find(pathOf(request))!;
      const api = this.door.enter(request, socket, { access: handler.access }, params);
      requestId = api.requestId;
      const { identity } = api.caller;
      this.log.debug({ requestId, method: api.method, path: api.path, caller: identity.username, protocol: identity.protocol }, 'upgrade');
      await handler.handle(api, { request, socket, head });
    } catch (thrown) {
      const fault = faultOf(thrown);
      if (fault.kind === 'internal') this.log.error({ requestId, err: thrown, detail: fault.detail, path: pathOf(request) }, 'upgrade failed');
      refuse(socket, renderFault(fault, requestId));
    }
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '/').split('?', 1)[0]!;

function refuse(socket: Duplex, { status, headers, body }: ReturnType<typeof renderFault>): void {
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(body as string)), connection: 'close' });
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body as string}`);
}
