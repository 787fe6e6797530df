import { join } from 'node:path';
import { fault } from '#kit';
import type { Calls, Members, ServiceDefinition } from '../calls.js';
import { DirectMembers } from '../direct/direct-members.js';
import { Services } from '../services.js';
import { SocketStreams } from '../streams/socket-streams.js';
import type { Streams } from '../streams.js';
import { GrpcChannel } from './grpc-channel.js';
import { GrpcServer } from './grpc-server.js';

/** The processes of a split member. The name of a service ends with the role of the process that serves it: `OperationsAgent`. */
export const processRoles = ['gateway', 'scheduler', 'agent'] as const;
export type ProcessRole = (typeof processRoles)[number];

export interface SplitMembersOptions {
  /** Holds the sockets: `agent.rpc`, `agent.streams` … Paths of unix sockets are at most 107 bytes long. */
  directory: string;
  role: ProcessRole;
  memberName: () => string;
  remote?: Pick<Members, 'calls' | 'others'>;
}

/** One of several processes of a member: what it serves itself it calls itself, the rest by gRPC over the unix socket of the process that does. */
export class SplitMembers implements Members {
  readonly streams: Streams;
  readonly #streams: SocketStreams;
  readonly #services = new Services();
  readonly #server: GrpcServer;
  readonly #channels = new Map<ProcessRole, GrpcChannel>();

  constructor(private readonly options: SplitMembersOptions) {
    this.#streams = new SocketStreams(join(options.directory, `${options.role}.streams`));
    this.streams = this.#streams;
    this.#server = new GrpcServer(this.#services);
  }

  calls<S extends ServiceDefinition>(service: S, member?: string): Calls<S> {
    const { role, memberName, remote } = this.options;
    if (member !== undefined && member !== memberName()) {
      if (!remote) throw fault.notFound('Cluster member not found');
      return remote.calls(service, member);
    }
    const owner = roleOf(service);
    if (owner === role) return new DirectMembers({ checked: false, memberName }, this.#services).calls(service);
    const channel = this.#channel(owner);
    return Object.fromEntries(
      Object.entries(service).map(([name, method]) => [name, (request: unknown, context: never) => channel.call(method, request, context)]),
    ) as Calls<S>;
  }

  others(): readonly string[] {
    return this.options.remote?.others() ?? [];
  }

  serve<S extends ServiceDefinition>(service: S, handlers: Calls<S>): void {
    this.#services.add(service, handlers);
    this.#server.add(service);
  }

  async listen(): Promise<void> {
    await this.#streams.listen();
    await this.#server.listen(join(this.options.directory, `${this.options.role}.rpc`));
  }

  async close(): Promise<void> {
    for (const channel of this.#channels.values()) channel.close();
    await Promise.all([this.#server.close(), this.#streams.close()]);
  }

  #channel(role: ProcessRole): GrpcChannel {
    let channel = this.#channels.get(role);
    if (!channel) {
      channel = new GrpcChannel(`unix:${join(this.options.directory, `${role}.rpc`)}`);
      this.#channels.set(role, channel);
    }
    return channel;
  }
}

function roleOf(service: ServiceDefinition): ProcessRole {
  const path = Object.values(service)[0]?.path ?? '';
  const name = path.split('/')[1]?.toLowerCase() ?? '';
  const role = processRoles.find((one) => name.endsWith(one));
  if (!role) throw fault.internal('Internal error', { detail: `${path}: the name of a service ends with the role of its process` });
  return role;
}
