import type { Socket } from 'node:net';
import { Fault, fault } from '#kit';
import type { Calls, Members, ServiceDefinition } from '../calls.js';
import type { CallContext } from '../context.js';
import type { Services } from '../services.js';
import type { MutualTls } from './mutual-tls.js';

export interface RemoteMembersOptions {
  /** What this member offers the others. */
  services: Services;
  /** `host:port` of a member; undefined for one that there is not. */
  address: (member: string) => string | undefined;
  /** Names of the other members that are believed alive. */
  alive: () => readonly string[];
  /** The cluster's key pair, PEM; undefined where there is no cluster. */
  pair: () => { certificate: string; key: string } | undefined;
}

/**
 * The services of other members, by gRPC over mutual TLS at their one port, and ours for them. Only the cluster's certificate counts, either way, so what
 * the other says about who asks is believed. gRPC is loaded by the first call.
 */
export class RemoteMembers implements Pick<Members, 'calls' | 'others'> {
  #tls: Promise<MutualTls> | undefined;

  constructor(private readonly options: RemoteMembersOptions) {}

  calls<S extends ServiceDefinition>(service: S, member: string): Calls<S>;
  calls<S extends ServiceDefinition>(service: S, member?: string): Calls<S> {
    const entries = Object.entries(service).map(([name, method]) => [
      name,
      async (request: unknown, context: CallContext): Promise<unknown> => {
        const address = this.options.address(member ?? '');
        if (address === undefined) throw new Fault('notFound', 'Cluster member not found');
        const pair = this.options.pair();
        if (!pair) throw fault.unavailable('This server is not clustered');
        return (await this.#loaded()).channel(address, pair).call(method, request, context);
      },
    ]);
    return Object.fromEntries(entries) as Calls<S>;
  }

  others(): readonly string[] {
    return this.options.alive();
  }

  /** A connection of another member, its bytes unread. */
  accept(socket: Socket): void {
    const pair = this.options.pair();
    if (!pair) return void socket.destroy();
    void this.#loaded().then((tls) => tls.accept(socket, this.options.services, pair));
  }

  async close(): Promise<void> {
    await (await this.#tls)?.close();
  }

  #loaded(): Promise<MutualTls> {
    return (this.#tls ??= import('./mutual-tls.js').then(({ MutualTls }) => new MutualTls()));
  }
}
