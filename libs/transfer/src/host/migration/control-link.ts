import type { WebSocket } from 'ws';
import { fault, Fault } from '#kit';
import { MigrationControl, MigrationHeader } from '#members';

/** How long one side waits for the other to say its header. */
const headerMs = 60_000;

/** The control websocket of a migration: protobuf messages as whole binary frames. */
export class ControlLink {
  readonly #waiting: Buffer[] = [];
  readonly #readers: { resolve: (frame: Buffer) => void; reject: (error: Error) => void }[] = [];
  #broken?: Error;

  constructor(private readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (!isBinary) return this.#break(fault.invalid('The other server does not speak the migration protocol'));
      const reader = this.#readers.shift();
      if (reader) reader.resolve(data);
      else this.#waiting.push(data);
    });
    const lost = (): void => this.#break(fault.unavailable('The control connection of the migration was lost'));
    socket.once('close', lost);
    socket.on('error', lost);
  }

  sendHeader(header: MigrationHeader): Promise<void> {
    return this.#send(MigrationHeader.encode(header).finish());
  }

  /** @throws Fault unavailable: nothing came in time, or the connection is lost; whatever the other side says it failed with */
  async header(): Promise<MigrationHeader> {
    const frame = await within(headerMs, this.#next());
    const header = decode(() => MigrationHeader.decode(frame));
    // A failure has the place of a header: { success: false, message } looks like fs=0 and something that is no enumeration.
    if (header.transport === undefined) throw fault.invalid('The other server does not speak the migration protocol');
    return header;
  }

  /** The end as the other side sees it. @throws Fault unavailable when the connection is lost before */
  async outcome(): Promise<{ success: boolean; message: string }> {
    const frame = await this.#next();
    const { success = false, message = '' } = decode(() => MigrationControl.decode(frame));
    return { success, message };
  }

  /** Tells the other side how it ended. A connection that is gone is no error any more. */
  async finish(error?: unknown): Promise<void> {
    const message = error === undefined ? '' : Fault.from(error).message;
    await this.#send(MigrationControl.encode({ success: error === undefined, message }).finish()).catch(() => {});
  }

  close(): void {
    this.socket.close(1000);
    setTimeout(() => this.socket.terminate(), 2_000).unref();
  }

  #next(): Promise<Buffer> {
    const frame = this.#waiting.shift();
    if (frame) return Promise.resolve(frame);
    if (this.#broken) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  #send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) =>
      this.socket.send(bytes, { binary: true }, (error) =>
        error ? reject(fault.unavailable('The control connection of the migration was lost', { cause: error })) : resolve(),
      ),
    );
  }

  #break(error: Error): void {
    this.#broken ??= error;
    for (const reader of this.#readers.splice(0)) reader.reject(this.#broken);
  }
}

function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw fault.invalid('The other server does not speak the migration protocol', { cause: error });
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(fault.unavailable('The other server did not answer in time')), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
