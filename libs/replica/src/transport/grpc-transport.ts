import type { MemberId, Message } from '#raft-ts';
import type { SubmitReply, SubmitRequest, Transport, TransportHandlers } from '../engine/ports.js';
import { EngineServer } from './engine-server.js';
import type { EngineNetwork } from './network.js';
import { PeerLink } from './peer-link.js';
import { toWireMessage } from './raft-wire.js';

export interface GrpcTransportOptions {
  readonly self: MemberId;
  readonly cluster: string;
  readonly network: EngineNetwork;
}

/** Between the engines of members: mutual TLS by the cluster certificate, one long stream each way. It carries, and decides nothing. */
export class GrpcTransport implements Transport {
  readonly #links = new Map<MemberId, PeerLink>();
  #server: EngineServer | undefined;
  #handlers: TransportHandlers | undefined;
  #network: EngineNetwork;

  constructor(private readonly options: GrpcTransportOptions) {
    this.#network = options.network;
  }

  start(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    this.#serve();
    this.#dial();
  }

  /** Peers that moved, came or left; another certificate. What did not change goes on undisturbed. */
  configure(network: EngineNetwork): void {
    const renewed = network.credentials?.certificate !== this.#network.credentials?.certificate;
    this.#network = network;
    if (renewed) {
      for (const id of this.#links.keys()) this.#drop(id);
      this.#serve();
    }
    this.#dial();
  }

  /** @see EngineServer.accept */
  accept(fd: number): void {
    this.#server?.accept(fd);
  }

  listen(address: string): Promise<number> {
    if (!this.#server) return Promise.reject(new Error('no credentials to listen with'));
    return this.#server.listen(address);
  }

  send(messages: readonly Message[]): void {
    for (const message of messages) this.#links.get(message.to)?.send(toWireMessage(message));
  }

  async submit(to: MemberId, term: number, request: SubmitRequest, dryRun: boolean): Promise<SubmitReply> {
    const link = this.#links.get(to);
    if (!link) throw new Error(`no address is known of member ${to}`);
    const { self, cluster } = this.options;
    const { name, payload, identity, submitId, requestId, timeoutMs } = request;
    const submit = { cluster, from: self, term, dryRun, name, payload, identity: JSON.stringify(identity), submitId, requestId, timeoutMs };
    return JSON.parse((await link.submit(submit)).json) as SubmitReply;
  }

  async close(): Promise<void> {
    for (const id of this.#links.keys()) this.#drop(id);
    this.#server?.close();
    this.#server = undefined;
  }

  #serve(): void {
    const before = this.#server;
    const { credentials } = this.#network;
    this.#server = credentials && this.#handlers ? new EngineServer(credentials, this.options.cluster, this.#handlers) : undefined;
    before?.close();
  }

  #dial(): void {
    const handlers = this.#handlers;
    if (!handlers) return;
    const { credentials, peers } = this.#network;
    const wanted = new Map(peers.filter(({ id }) => id !== this.options.self).map(({ id, address }) => [id, address]));
    for (const [id, link] of this.#links) if (!credentials || wanted.get(id) !== link.address) this.#drop(id);
    if (!credentials) return;
    for (const [id, address] of wanted) {
      if (!this.#links.has(id)) this.#links.set(id, new PeerLink(address, credentials, () => handlers.unreachable(id)));
    }
  }

  #drop(id: MemberId): void {
    this.#links.get(id)?.close();
    this.#links.delete(id);
  }
}
