import { type ChannelOptions, Client, type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js';
import { EngineService, type Done, type EngineReply, type EngineSubmit, type RaftMessage } from '#members/wire';
import { engineServerName, type EngineNetwork } from './network.js';

/** A broken stream is opened again after this. */
const REOPEN_MS = 100;
/** A peer that takes a connection and then says nothing: it is dialled anew. */
const DIAL_MS = 2_000;
/** What a peer that does not read may keep waiting here; beyond it messages are dropped, as any network may drop them. */
const BACKLOG_BYTES_MAX = 16 * 1024 * 1024;
export const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

const options: ChannelOptions = {
  'grpc.ssl_target_name_override': engineServerName,
  'grpc.default_authority': engineServerName,
  'grpc.keepalive_time_ms': 500,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 300,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
};

type Stream = ClientDuplexStream<RaftMessage, Done>;

/** Our side of the way to one peer: a channel of its own, one long stream for messages, calls for submits. */
export class PeerLink {
  #client: Client;
  readonly #newClient: () => Client;
  #stream: Stream | undefined;
  /** The peer has taken the stream: before that, what is written would be old when it arrives. */
  #open = false;
  #closed = false;
  #reopening: NodeJS.Timeout | undefined;
  #backlogBytes = 0;

  constructor(
    readonly address: string,
    { certificate, key }: NonNullable<EngineNetwork['credentials']>,
    private readonly unreachable: () => void,
  ) {
    const [pem, secret] = [Buffer.from(certificate), Buffer.from(key)];
    // The certificate is pinned; whose name it bears says nothing more.
    const secure = credentials.createSsl(pem, secret, pem, { checkServerIdentity: () => undefined });
    this.#newClient = () => new Client(address, secure, options);
    this.#client = this.#newClient();
    this.#dial();
  }

  send(message: RaftMessage): void {
    if (!this.#open || !this.#stream || this.#backlogBytes > BACKLOG_BYTES_MAX) return;
    const bytes = EngineService.messages.requestSerialize(message);
    this.#backlogBytes += bytes.length;
    (this.#stream as unknown as ClientDuplexStream<Buffer, Done>).write(bytes, () => {
      this.#backlogBytes -= bytes.length;
    });
  }

  /** @throws if there was no answer: the fate of the submit is then unknown */
  submit(submit: EngineSubmit): Promise<EngineReply> {
    const { path, requestSerialize, responseDeserialize } = EngineService.submit;
    const deadline = Date.now() + submit.timeoutMs + 1_000;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, requestSerialize, responseDeserialize, submit, new Metadata(), { deadline }, (error, reply) =>
        error || !reply ? reject(error ?? new Error('no reply')) : resolve(reply),
      );
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reopening);
    this.#stream?.cancel();
    this.#client.close();
  }

  #dial(): void {
    const { path, responseDeserialize } = EngineService.messages;
    const serialized = (bytes: Buffer): Buffer => bytes;
    const stream = this.#client.makeBidiStreamRequest(path, serialized, responseDeserialize) as unknown as Stream;
    this.#stream = stream;
    this.#backlogBytes = 0;
    const late = setTimeout(() => {
      this.#client.close();
      this.#client = this.#newClient();
      stream.cancel();
    }, DIAL_MS);
    stream.on('metadata', () => {
      clearTimeout(late);
      this.#open = this.#stream === stream;
    });
    stream.on('data', () => undefined);
    // `status` comes once, however it ended; an error without a listener would end the process.
    stream.on('error', () => undefined);
    stream.on('status', () => {
      clearTimeout(late);
      this.#broken(stream);
    });
  }

  #broken(stream: Stream): void {
    if (this.#stream !== stream || this.#closed) return;
    if (this.#open) this.unreachable();
    this.#open = false;
    this.#stream = undefined;
    this.#reopening = setTimeout(() => this.#dial(), REOPEN_MS);
  }
}
