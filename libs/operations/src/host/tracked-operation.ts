import { timingSafeEqual } from 'node:crypto';
import type { WebSocket } from 'ws';
import type { Operation, StatusCode } from '#api-contract';
import { Fault, type Logger } from '#kit';
import { isFinal, withContainers, withStatus } from '../model/index.js';
import type { OperationRequest, RunningOperation } from './operations.js';

/** Changes of metadata within this time are told in one event. */
const coalesceMs = 100;

/** setTimeout holds at most this. */
const timerMsMax = 2 ** 31 - 1;

export interface TrackedOptions {
  id: string;
  request: OperationRequest;
  location: string;
  now: () => Date;
  log: Logger;
  /** The document has changed: once a change of state, at most once in 100 ms for metadata. */
  onChange: (operation: TrackedOperation) => void;
}

/**
 * One operation of this member: its document, the states it goes through (pending, running, cancelling, final), and the work behind it.
 * The document is replaced, never changed: whoever got it keeps what it was.
 */
export class TrackedOperation implements RunningOperation {
  readonly id: string;
  readonly request: OperationRequest;
  readonly secrets: readonly string[];
  #document: Operation;
  #abort = new AbortController();
  #ended = Promise.withResolvers<void>();
  #untaken: Map<string, Buffer>;
  #pending: NodeJS.Timeout | undefined;
  #toldAtMs = -Infinity;
  #expiry: NodeJS.Timeout | undefined;

  constructor(private readonly options: TrackedOptions) {
    const { id, request, location } = options;
    this.id = id;
    this.request = request;
    const secrets = request.sockets?.secrets ?? {};
    this.secrets = Object.values(secrets);
    this.#untaken = new Map(Object.entries(secrets).map(([name, secret]) => [name, Buffer.from(secret)]));
    const now = options.now();
    this.#document = withStatus(
      {
        id,
        class: request.class ?? 'task',
        description: request.description,
        created_at: now.toISOString(),
        updated_at: '',
        status: '',
        status_code: 105,
        resources: request.resources ? withContainers(request.resources) : null,
        metadata: request.metadata ? { ...request.metadata } : null,
        may_cancel: request.class === 'token' || request.mayCancel === true,
        err: '',
        location,
      },
      105,
      now,
    );
  }

  get document(): Operation {
    return this.#document;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get final(): boolean {
    return isFinal(this.#document.status_code);
  }

  /** Resolves when the state is final; never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Tells pending, then running, and begins the work in a later turn: the caller has its answer first. */
  start(): void {
    this.options.onChange(this);
    this.#become(103);
    if (this.request.expiresAt) this.#armExpiry(this.request.expiresAt);
    if (this.request.run) setImmediate(() => void this.#work(this.request.run!));
  }

  update(metadata: Record<string, unknown>): void {
    this.#merge({ metadata: { ...this.#document.metadata, ...metadata } });
  }

  progress(stage: string, text: string): void {
    this.update({ [`${stage}_progress`]: text });
  }

  setResources(resources: Record<string, string[]>): void {
    this.#merge({ resources: withContainers(resources) });
  }

  /** False when it is not running, or cannot be cancelled. */
  cancel(): boolean {
    if (this.#document.status_code !== 103 || !this.#document.may_cancel) return false;
    this.#become(104);
    this.#abort.abort();
    if (!this.request.run) this.#finish(401);
    return true;
  }

  /** At the daemon's end: the work is told, whether it may be cancelled or not. */
  abort(): void {
    this.#abort.abort();
    if (!this.request.run) this.#finish(401);
  }

  /** Takes the socket whose secret fits. Compares with all, so that the time tells nothing. */
  take(secret: string): { name: string; connect: (name: string, socket: WebSocket) => void } | undefined {
    if (this.#document.status_code !== 103 || !this.request.sockets) return undefined;
    const given = Buffer.from(secret);
    let found: string | undefined;
    for (const [name, wanted] of this.#untaken) if (wanted.length === given.length && timingSafeEqual(wanted, given)) found = name;
    if (found === undefined) return undefined;
    this.#untaken.delete(found);
    return { name: found, connect: this.request.sockets.connect };
  }

  async #work(run: NonNullable<OperationRequest['run']>): Promise<void> {
    try {
      const metadata = (await run(this)) ?? undefined;
      this.#finish(200, metadata && { metadata: { ...this.#document.metadata, ...metadata } });
    } catch (thrown) {
      const fault = Fault.from(thrown);
      if (this.#document.status_code === 104) return this.#finish(401);
      const level = fault.kind === 'internal' ? 'error' : 'debug';
      this.options.log[level]({ err: thrown, operation: this.id, requestId: this.request.context.requestId }, 'operation failed');
      this.#finish(400, { err: fault.message });
    }
  }

  #become(code: StatusCode, change: Partial<Operation> = {}): void {
    clearTimeout(this.#pending);
    this.#pending = undefined;
    this.#document = withStatus({ ...this.#document, ...change }, code, this.options.now());
    this.#toldAtMs = performance.now();
    this.options.onChange(this);
  }

  #finish(code: StatusCode, change: Partial<Operation> = {}): void {
    if (this.final) return;
    clearTimeout(this.#expiry);
    this.#untaken.clear();
    this.#become(code, change);
    this.#ended.resolve();
  }

  #merge(change: Partial<Operation>): void {
    if (this.final) return;
    this.#document = { ...this.#document, ...change, updated_at: this.options.now().toISOString() };
    if (this.#pending) return;
    const waitMs = this.#toldAtMs + coalesceMs - performance.now();
    this.#pending = setTimeout(() => this.#become(this.#document.status_code), Math.max(0, waitMs));
  }

  #armExpiry(at: Date): void {
    const leftMs = at.getTime() - this.options.now().getTime();
    this.#expiry = setTimeout(
      () => {
        if (at.getTime() > this.options.now().getTime()) this.#armExpiry(at);
        else this.#finish(401);
      },
      Math.min(Math.max(0, leftMs), timerMsMax),
    );
    this.#expiry.unref();
  }
}
