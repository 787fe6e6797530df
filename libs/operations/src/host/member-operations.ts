import { randomBytes } from 'node:crypto';
import type { Operation } from '#api-contract';
import { type EventHub, publishLifecycle } from '#events/host';
import { type Clock, type Logger, fault } from '#kit';
import { acceptWebSocket, checkHandshake, type Upgrade } from '#members';
import type { LocalStore } from '#replica';
import type { Identity } from '#replica/state';
import { operationId, withoutSecrets } from '../model/index.js';
import { OperationHistory, type OperationRecord } from './operation-history.js';
import type { OperationRequest, Operations } from './operations.js';
import { TrackedOperation } from './tracked-operation.js';

/** As long as LXD shows what has ended; the history has it afterwards. */
const lingerMs = 5_000;

/** At once on one member. Beyond that something is wrong with a client, or with us. */
const liveMax = 10_000;

export interface MemberOperationsOptions {
  local: LocalStore;
  events: EventHub;
  clock: Clock;
  log: Logger;
  /** Of this member; another one once it has joined a cluster. */
  memberId: () => number;
  /** Name of this member, `none` when standalone. */
  location: () => string;
}

/** The operations of this member. Make one per process, after local.db is open: it tells what died with the last one as failed. */
export class MemberOperations implements Operations {
  readonly #live = new Map<string, TrackedOperation>();
  readonly #history: OperationHistory;
  #stopping = false;
  #lastIdMs = 0;

  constructor(private readonly options: MemberOperationsOptions) {
    this.#history = new OperationHistory(options.local);
    this.#history.failUnfinished(options.clock.now());
  }

  start(request: OperationRequest): Operation {
    if (this.#stopping) throw fault.unavailable('LXD is shutting down');
    if (this.#live.size >= liveMax) throw fault.unavailable('Too many operations', { retryAfterS: 5 });
    const { clock, log, memberId, location } = this.options;
    const operation = new TrackedOperation({
      id: operationId(memberId(), (this.#lastIdMs = Math.max(this.#lastIdMs + 1, clock.now().getTime())), randomBytes(16)),
      request,
      location: location(),
      now: () => clock.now(),
      log,
      onChange: (changed) => this.#changed(changed),
    });
    this.#live.set(operation.id, operation);
    operation.start();
    this.#save(operation);
    return operation.document;
  }

  get(id: string): Operation | undefined {
    return this.find(id)?.operation;
  }

  find(id: string): OperationRecord | undefined {
    const live = this.#live.get(id);
    return live ? record(live) : this.#history.get(id);
  }

  list({ project, history }: { project?: string; history?: boolean }): Operation[] {
    return this.records({ projects: project === undefined ? undefined : [project], history }).map(({ operation }) => operation);
  }

  records({ projects, history, limit }: { projects?: readonly string[]; history?: boolean; limit?: number }): OperationRecord[] {
    const live = [...this.#live.values()].map(record).filter((one) => !projects || projects.includes(one.project));
    if (!history) return live;
    return [...live.reverse(), ...this.#history.list({ projects, limit }).filter(({ operation }) => !this.#live.has(operation.id))];
  }

  async wait(id: string, timeoutMs?: number, signal?: AbortSignal): Promise<Operation> {
    const live = this.#live.get(id);
    if (live && !live.final) await settled(live.ended, timeoutMs, signal);
    const document = live?.document ?? this.#history.get(id)?.operation;
    if (!document) throw notFound();
    return document;
  }

  async cancel(id: string, by?: Identity): Promise<void> {
    const live = this.#live.get(id);
    if (!live) {
      if (this.#history.get(id)) throw fault.invalid('Only running operations can be cancelled');
      throw notFound();
    }
    if (live.final) throw fault.invalid('Only running operations can be cancelled');
    if (!live.cancel()) throw fault.invalid("This operation can't be cancelled");
    const { project } = live.request;
    const source = `/1.0/operations/${id}`;
    publishLifecycle(this.options.events, { action: 'operation-cancelled', source, project: project || undefined }, by);
  }

  tokens(): Operation[] {
    return [...this.#live.values()].filter((live) => live.document.class === 'token' && !live.final).map((live) => live.document);
  }

  connect(id: string, secret: string, upgrade: Upgrade): void {
    const live = this.#live.get(id);
    if (!live) throw notFound();
    if (!live.request.sockets) throw fault.invalid('Only websocket operations can be connected');
    if (live.document.status_code !== 103) throw fault.invalid('Only running operations can be connected');
    checkHandshake(upgrade.request);
    const taken = live.take(secret);
    // LXD finds out too late for a 403.
    if (!taken) throw fault.forbidden('permission denied', { status: 500 });
    acceptWebSocket(upgrade, (socket) => taken.connect(taken.name, socket));
  }

  pruneHistory(): void {
    this.#history.prune(this.options.clock.now());
  }

  async shutdown(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    const open = (): TrackedOperation[] => [...this.#live.values()].filter((live) => !live.final);
    for (const live of open()) live.cancel();
    await settled(Promise.all(open().map((live) => live.ended)), timeoutMs);
    const late = open();
    for (const live of late) live.abort();
    // The undo of what was aborted gets a last, short chance.
    await settled(Promise.all(late.map((live) => live.ended)), Math.min(timeoutMs, 2_000));
    for (const live of open()) this.options.log.warn({ operation: live.id, description: live.document.description }, 'operation did not end');
  }

  #changed(changed: TrackedOperation): void {
    this.options.events.publish({ type: 'operation', project: changed.request.project || undefined, metadata: changed.document });
    if (!changed.final) return;
    this.#save(changed);
    setTimeout(() => this.#live.delete(changed.id), lingerMs).unref();
  }

  /** Best effort: an operation does not fail because its history could not be written. */
  #save(operation: TrackedOperation): void {
    const { document, request, secrets } = operation;
    try {
      this.#history.save({ operation: withoutSecrets(document, secrets), project: request.project });
    } catch (error) {
      this.options.log.error({ err: error, operation: operation.id }, 'could not keep an operation');
    }
  }
}

const record = (live: TrackedOperation): OperationRecord => ({ operation: live.document, project: live.request.project });

const notFound = () => fault.notFound('Operation not found');

/** Resolves when the promise does, when the time is over (undefined: never), or when the signal is aborted. */
async function settled(promise: Promise<unknown>, timeoutMs?: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return;
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = timeoutMs === undefined ? undefined : setTimeout(resolve, Math.min(timeoutMs, 2 ** 31 - 1));
  const stop = (): void => resolve();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}
