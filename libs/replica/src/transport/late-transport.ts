import type { Message, MemberId } from '#raft-ts';
import type { SubmitReply, SubmitRequest, Transport, TransportHandlers } from '../engine/ports.js';
import type { GrpcTransport } from './grpc-transport.js';
import type { EngineNetwork } from './network.js';

/** The transport of a member that may get peers while it runs: gRPC is loaded when there are some, and costs nothing before. */
export class LateTransport implements Transport {
  #grpc: GrpcTransport | undefined;
  #loading: Promise<void> | undefined;
  #handlers: TransportHandlers | undefined;
  #network: EngineNetwork = { peers: [] };
  readonly #early: number[] = [];
  #closed = false;

  /** @param who this member: known once the log is open */
  constructor(private readonly who: () => { id: MemberId; clusterId: string }) {}

  start(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    this.#load();
  }

  configure(network: EngineNetwork): void {
    this.#network = network;
    if (this.#grpc) this.#grpc.configure(network);
    else this.#load();
  }

  accept(fd: number): void {
    if (this.#grpc) this.#grpc.accept(fd);
    else this.#early.push(fd);
  }

  send(messages: readonly Message[]): void {
    this.#grpc?.send(messages);
  }

  submit(to: MemberId, term: number, request: SubmitRequest, dryRun: boolean): Promise<SubmitReply> {
    return this.#grpc ? this.#grpc.submit(to, term, request, dryRun) : Promise.reject(new Error('there is no way to other members yet'));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#loading;
    await this.#grpc?.close();
  }

  #load(): void {
    const handlers = this.#handlers;
    if (!handlers || !this.#network.credentials || this.#loading) return;
    this.#loading = import('./grpc-transport.js').then(({ GrpcTransport }) => {
      if (this.#closed) return;
      const { id, clusterId } = this.who();
      this.#grpc = new GrpcTransport({ self: id, cluster: clusterId, network: this.#network });
      this.#grpc.start(handlers);
      for (const fd of this.#early.splice(0)) this.#grpc.accept(fd);
    });
  }
}
