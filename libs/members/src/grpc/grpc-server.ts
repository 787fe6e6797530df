import { chmodSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall, type ServiceDefinition as GrpcServiceDefinition } from '@grpc/grpc-js';
import type { ServiceDefinition } from '../calls.js';
import { faultToStatus } from '../fault-rpc.js';
import type { Services } from '../services.js';
import { contextOfCall } from './context-metadata.js';
import { messageBytesMax } from './grpc-channel.js';

/** The services of this process on a unix socket. */
export class GrpcServer {
  readonly #server = new Server({ 'grpc.max_receive_message_length': messageBytesMax, 'grpc.max_send_message_length': messageBytesMax });

  constructor(private readonly services: Services) {}

  /** A service that is (or will be) in `services`. May be added while listening. */
  add(service: ServiceDefinition): void {
    const implementation = Object.entries(service).map(([name, { path }]) => [
      name,
      (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
        const handler = this.services.handler(path)!;
        handler(call.request, contextOfCall(call)).then(
          (reply) => callback(null, reply),
          (thrown: unknown) => callback(faultToStatus(thrown)),
        );
      },
    ]);
    this.#server.addService(service as unknown as GrpcServiceDefinition, Object.fromEntries(implementation));
  }

  /** Takes connections that somebody else has accepted. The credentials are those of the moment. */
  injector(secure: ServerCredentials): { injectConnection(socket: Socket): void } {
    return this.#server.createConnectionInjector(secure);
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) =>
      this.#server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())),
    );
    chmodSync(path, 0o600);
  }

  /** Lets calls under way end for a moment, then cuts them. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      // After a forced end nobody calls back for connections that were injected.
      const cut = setTimeout(() => {
        this.#server.forceShutdown();
        resolve();
      }, 1_000);
      this.#server.tryShutdown(() => {
        clearTimeout(cut);
        resolve();
      });
    });
  }
}
