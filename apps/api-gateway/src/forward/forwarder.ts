import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { MemberTls } from '#cluster/host';
import { Fault, fault, type Logger } from '#kit';
import { type Members, PlacementSchedulerService } from '#members';
import type { Operations } from '#operations/host';
import type { Replica } from '#replica';
import { internalIdentity } from '#replica/state';
import type { Callers } from '../caller/callers.js';
import { GatewayRequest } from '../caller/gateway-request.js';
import { headersFor, hopHeader } from './headers.js';
import { type Handover, MemberPipe } from './member-pipe.js';
import { type Asked, mayBelongElsewhere, partsOf, whose, type Whose } from './whose.js';

/** The cluster, as far as forwarding must know it. */
export interface ForwardingCluster {
  readonly clustered: boolean;
  readonly selfId: number;
  tls(): MemberTls | undefined;
  byId(id: number): { id: number; name: string; address: string } | undefined;
  byName(name: string): { id: number; name: string; address: string } | undefined;
  alive(id: number): boolean;
}

export interface ForwarderParts {
  cluster: ForwardingCluster;
  replica: Replica;
  members: Members;
  operations?: Operations | undefined;
  callers: Callers;
  log: Logger;
  /** How a fault is answered where no controller is. */
  refuse: (thrown: unknown, request: IncomingMessage, response: ServerResponse) => void;
}

interface Destination {
  id: number;
  name: string;
  address: string;
}

/** Hands whole requests to the member that owns what they are about: one hop, with the caller's identity. What belongs here, or anywhere, goes on. */
export class Forwarder {
  readonly #pipe = new MemberPipe();

  constructor(private readonly parts: ForwarderParts) {}

  /** True if the request is taken; `here` is called if it turns out to be this member's after all. */
  take(request: IncomingMessage, response: ServerResponse, here: () => void): boolean {
    const asked = this.#asked(request);
    if (!asked) return false;
    this.#route(request, asked).then(
      (destination) => {
        if (!destination) return here();
        const to = this.#handover(request, response, destination, asked);
        return this.#pipe.send(request, response, to).catch((error: unknown) => this.parts.refuse(error, request, response));
      },
      (error: unknown) => this.parts.refuse(error, request, response),
    );
    return true;
  }

  /** The same for connections that leave HTTP. @throws Fault */
  async takeUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<boolean> {
    const asked = this.#asked(request);
    const destination = asked && (await this.#route(request, asked));
    if (!asked || !destination) return false;
    await this.#pipe.upgrade(request, socket, head, this.#handover(request, socket, destination, asked));
    return true;
  }

  close(): void {
    this.#pipe.close();
  }

  /** Undefined for what every member answers alike, for untrusted callers, and where there is no cluster. */
  #asked(request: IncomingMessage): Asked | undefined {
    const { cluster, callers } = this.parts;
    if (!cluster.clustered) return undefined;
    const [path, search = ''] = (request.url ?? '/').split('?', 2) as [string, string?];
    const parts = partsOf(path);
    if (!parts) return undefined;
    const asked = { method: request.method ?? 'GET', parts, query: new URLSearchParams(search) };
    if (!mayBelongElsewhere(asked)) return undefined;
    // A guest reaches an operation by its secret, and nothing else; the door says so to everybody else.
    const { caller } = callers.of(request);
    return caller.trusted || parts[0] === 'operations' ? asked : undefined;
  }

  async #route(request: IncomingMessage, asked: Asked): Promise<Destination | undefined> {
    const { cluster, replica, operations } = this.parts;
    if (asked.parts[0] === 'operations' && operations?.get(asked.parts[1] ?? '')) return undefined;
    // What is local goes on without a majority, so a barrier that fails is none of its business.
    if (asked.parts[0] !== 'operations') await replica.barrier().catch(() => undefined);
    const destination = await this.#destination(whose(asked, replica.reader, cluster.selfId), request);
    if (!destination || destination.id === cluster.selfId) return undefined;
    if (request.headers[hopHeader] !== undefined && this.parts.callers.speaksForOthers(request)) {
      throw new Fault('conflict', 'The request was handed on to the wrong cluster member', { status: 508 });
    }
    if (!cluster.alive(destination.id)) throw fault.unavailable(`Cluster member "${destination.name}" is offline`, { retryAfterS: 2 });
    return destination;
  }

  async #destination(owner: Whose, request: IncomingMessage): Promise<Destination | undefined> {
    const { cluster } = this.parts;
    if (owner === 'here') return undefined;
    if ('id' in owner) return cluster.byId(owner.id);
    const name = 'name' in owner ? owner.name : await this.#place(owner.place, request);
    const found = cluster.byName(name);
    if (!found) throw fault.notFound('Cluster member not found');
    return found;
  }

  async #place(target: string, request: IncomingMessage): Promise<string> {
    const { members, callers } = this.parts;
    const { identity } = callers.of(request).caller;
    // Placed already, by the member that sent it.
    if (request.headers[hopHeader] !== undefined && callers.speaksForOthers(request)) return this.#own();
    const placed = await members
      .calls(PlacementSchedulerService)
      .place({ target, architecture: '', pools: [], networks: [] }, { identity: identity ?? internalIdentity, requestId: '' });
    return placed.member;
  }

  #own(): string {
    const { cluster } = this.parts;
    return cluster.byId(cluster.selfId)?.name ?? '';
  }

  #handover(request: IncomingMessage, answer: ServerResponse | Duplex, { id, name, address }: Destination, asked: Asked): Handover {
    const { cluster, callers, log } = this.parts;
    const tls = cluster.tls();
    if (!tls) throw fault.unavailable('This server is not clustered');
    const { caller } = callers.of(request);
    const { requestId } = new GatewayRequest(request, answer, caller);
    log.debug({ requestId, method: request.method, path: (request.url ?? '').split('?', 1)[0], member: id }, 'forwarded');
    return { address, tls, url: urlFor(request.url ?? '/', asked, name), headers: headersFor(request.headers, caller.identity, requestId) };
  }
}

/** A place that was chosen is named, so that the owner does not choose again. */
function urlFor(url: string, { method, parts, query }: Asked, member: string): string {
  if (method !== 'POST' || parts.length !== 1) return url;
  const next = new URLSearchParams(query);
  next.set('target', member);
  return `${url.split('?', 1)[0]}?${next.toString()}`;
}
