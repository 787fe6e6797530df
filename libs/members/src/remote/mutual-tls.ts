import type { Socket } from 'node:net';
import { credentials, ServerCredentials } from '@grpc/grpc-js';
import type { ServiceDefinition } from '../calls.js';
import { GrpcChannel } from '../grpc/grpc-channel.js';
import { GrpcServer } from '../grpc/grpc-server.js';
import type { Services } from '../services.js';

interface Pair {
  certificate: string;
  key: string;
}

/** The name by which the one port of a member knows what is for its services. */
const serverName = 'agent.muster';

/** Channels to other members, and the server for theirs: made when first needed, and anew when the certificate is another one. */
export class MutualTls {
  readonly #channels = new Map<string, { channel: GrpcChannel; certificate: string }>();
  readonly #server: { current?: { grpc: GrpcServer; injector: ReturnType<GrpcServer['injector']>; certificate: string } } = {};

  channel(address: string, { certificate, key }: Pair): GrpcChannel {
    const known = this.#channels.get(address);
    if (known?.certificate === certificate) return known.channel;
    known?.channel.close();
    const pem = Buffer.from(certificate);
    // Pinned: whose name it bears says nothing more.
    const secure = credentials.createSsl(pem, Buffer.from(key), pem, { checkServerIdentity: () => undefined });
    const channel = new GrpcChannel(address, secure, {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
      'grpc.keepalive_time_ms': 1_000,
      'grpc.keepalive_timeout_ms': 1_000,
    });
    this.#channels.set(address, { channel, certificate });
    return channel;
  }

  accept(socket: Socket, services: Services, { certificate, key }: Pair): void {
    if (this.#server.current?.certificate !== certificate) {
      void this.#server.current?.grpc.close();
      const grpc = new GrpcServer(services);
      for (const service of services.definitions as readonly ServiceDefinition[]) grpc.add(service);
      const pem = Buffer.from(certificate);
      const secure = ServerCredentials.createSsl(pem, [{ private_key: Buffer.from(key), cert_chain: pem }], true);
      this.#server.current = { grpc, injector: grpc.injector(secure), certificate };
    }
    this.#server.current.injector.injectConnection(socket);
  }

  async close(): Promise<void> {
    for (const { channel } of this.#channels.values()) channel.close();
    await this.#server.current?.grpc.close();
  }
}
