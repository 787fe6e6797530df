import { Socket } from 'node:net';
import { type sendUnaryData, Server, ServerCredentials, type ServerDuplexStream, type ServerUnaryCall, type ServiceDefinition } from '@grpc/grpc-js';
import type { MemberId } from '#raft-ts';
import { type Done, EngineService, type EngineReply, type EngineSubmit, type RaftMessage } from '#members/wire';
import type { TransportHandlers } from '../engine/ports.js';
import type { Identity } from '../state/command.js';
import { fromWireMessage } from './raft-wire.js';
import type { EngineNetwork } from './network.js';
import { MESSAGE_BYTES_MAX } from './peer-link.js';

type Credentials = NonNullable<EngineNetwork['credentials']>;

/** What the others say to this engine. Connections come as descriptors, from the listener that they share with everything else. */
export class EngineServer {
  readonly #server = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    'grpc.keepalive_time_ms': 500,
    'grpc.keepalive_timeout_ms': 1_000,
  });
  readonly #injector: ReturnType<Server['createConnectionInjector']>;
  readonly #credentials: ServerCredentials;

  constructor(
    { certificate, key }: Credentials,
    private readonly cluster: string,
    private readonly handlers: TransportHandlers,
  ) {
    const pem = Buffer.from(certificate);
    this.#credentials = ServerCredentials.createSsl(pem, [{ private_key: Buffer.from(key), cert_chain: pem }], true);
    this.#injector = this.#server.createConnectionInjector(this.#credentials);
    this.#server.addService(EngineService as unknown as ServiceDefinition, {
      messages: (call: ServerDuplexStream<RaftMessage, Done>) => this.#messages(call),
      submit: (call: ServerUnaryCall<EngineSubmit, EngineReply>, callback: sendUnaryData<EngineReply>) => void this.#submit(call.request, callback),
    });
  }

  /** A connection whose bytes are still all unread, TLS included. The descriptor is ours from here on. */
  accept(fd: number): void {
    const socket = new Socket({ fd, readable: true, writable: true });
    // Who goes away during the handshake is no error of ours.
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    this.#injector.injectConnection(socket);
  }

  /** A listener of its own; answers the port. For tests, and where `cluster.engine_port` is set. */
  listen(address: string): Promise<number> {
    return new Promise((resolve, reject) =>
      this.#server.bindAsync(address, this.#credentials, (error, port) => (error ? reject(error) : resolve(port))),
    );
  }

  close(): void {
    this.#server.forceShutdown();
  }

  #messages(call: ServerDuplexStream<RaftMessage, Done>): void {
    let from: MemberId | undefined;
    // The opener writes once it knows that somebody is there.
    call.sendMetadata(call.metadata.clone());
    call.on('data', (wire: RaftMessage) => {
      const message = fromWireMessage(wire);
      if (!message) return;
      from = message.from;
      this.handlers.message(message);
    });
    const over = (): void => {
      if (from !== undefined) this.handlers.unreachable(from);
      from = undefined;
    };
    call.on('end', () => {
      over();
      call.end();
    });
    call.on('cancelled', over);
    call.on('error', over);
  }

  async #submit(asked: EngineSubmit, callback: sendUnaryData<EngineReply>): Promise<void> {
    const { cluster, from, term, dryRun, name, payload, submitId, requestId, timeoutMs } = asked;
    try {
      if (cluster !== this.cluster) throw new Error('another cluster');
      const identity = JSON.parse(asked.identity) as Identity;
      const reply = await this.handlers.submit(from, term, { name, payload, identity, submitId, requestId, timeoutMs }, dryRun);
      callback(null, { json: JSON.stringify(reply) });
    } catch (error) {
      callback(error as Error);
    }
  }
}
