import { type ChannelCredentials, type ChannelOptions, Client, credentials } from '@grpc/grpc-js';
import type { ServiceDefinition } from '../calls.js';
import type { CallContext } from '../context.js';
import { cancelled } from '../call-faults.js';
import { faultFromError } from '../fault-rpc.js';
import { contextToMetadata } from './context-metadata.js';

/** A request body of the API holds at most 16 MiB; around it stands little. */
export const messageBytesMax = 20 * 2 ** 20;

const options: ChannelOptions = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 300,
  'grpc.use_local_subchannel_pool': 1,
};

/** The client's side of one service's socket. Connects when it is first used, and again whenever it must. */
export class GrpcChannel {
  readonly #client: Client;

  /** @param target `unix:` and the path of a socket; or `host:port`, then with credentials */
  constructor(target: string, secure: ChannelCredentials = credentials.createInsecure(), more: ChannelOptions = {}) {
    this.#client = new Client(target, secure, { ...options, ...more });
  }

  /** @throws Fault as the handler threw it, or unavailable when there was no answer */
  call(method: ServiceDefinition[string], request: unknown, context: CallContext): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const { timeoutMs, signal } = context;
    if (signal?.aborted) return Promise.reject(cancelled());
    const call = this.#client.makeUnaryRequest<unknown, unknown>(
      method.path,
      (value) => method.requestSerialize(value as never),
      (bytes) => method.responseDeserialize(bytes),
      request,
      contextToMetadata(context),
      timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs },
      (error, reply) => {
        signal?.removeEventListener('abort', onAbort);
        if (error) reject(faultFromError(error));
        else resolve(reply);
      },
    );
    const onAbort = (): void => call.cancel();
    signal?.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  close(): void {
    this.#client.close();
  }
}
