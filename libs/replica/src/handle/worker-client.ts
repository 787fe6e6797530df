import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { Fault, fault, type Logger } from '#kit';
import { fromWire } from '../engine/fault-wire.js';
import type { EngineCalls, EngineMessage, EngineNotice, EngineWorkerData } from '../engine/protocol.js';
import type { Applied } from '../ports.js';

/** A thread of its own needs little: no Nest, small young generation, a bounded heap. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 256 };

interface Outstanding {
  resolve(value: never): void;
  reject(error: unknown): void;
}

/** The engine's worker as the main thread calls it. */
export class WorkerClient {
  readonly #outstanding = new Map<number, Outstanding>();
  #calls = 0;
  #closing = false;

  private constructor(
    private readonly worker: Worker,
    private readonly applied: (applied: Applied) => void,
    private readonly log: Logger,
  ) {}

  /**
   * @param died called if the worker ends without having been told to: the process must end with it
   * @throws Fault if the engine cannot be opened
   */
  static async start(
    entry: URL,
    data: EngineWorkerData,
    applied: (applied: Applied) => void,
    log: Logger,
    died: (error: Error) => void,
  ): Promise<WorkerClient> {
    // No flags of the parent: the entry is built JavaScript, even where a test runner loads sources.
    const worker = new Worker(entry, { workerData: data, resourceLimits: RESOURCE_LIMITS, execArgv: [] });
    const client = new WorkerClient(worker, applied, log);
    await new Promise<void>((resolve, reject) => {
      let open = false;
      const ended = (error: Error): void => {
        client.#failAll();
        if (!open) reject(error);
        else if (!client.#closing) died(error);
      };
      worker.on('error', ended);
      worker.on('exit', (code) => ended(new Error(`the engine's worker ended with code ${code}`)));
      worker.on('message', (message: EngineMessage) => {
        if (message.kind === 'closed') reject(fromWire(message.fault));
        else if (message.kind === 'open') {
          open = true;
          resolve();
        } else client.#take(message);
      });
    });
    return client;
  }

  call<K extends keyof EngineCalls>(call: K, ...args: Parameters<EngineCalls[K]>): Promise<Awaited<ReturnType<EngineCalls[K]>>> {
    if (this.#closing && call !== 'close') return Promise.reject(shuttingDown());
    const id = (this.#calls += 1);
    return new Promise((resolve, reject) => {
      this.#outstanding.set(id, { resolve, reject });
      this.worker.postMessage({ id, call, args });
    });
  }

  /** Nothing is answered, and nothing is lost: the port is in order. */
  notify(notice: EngineNotice): void {
    if (!this.#closing) this.worker.postMessage(notice);
    else if (notice.notice === 'connection') closeSync(notice.fd);
  }

  /** Resolves when the worker has flushed, closed and ended. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const ended = new Promise((resolve) => this.worker.once('exit', resolve));
    await this.call('close');
    await ended;
  }

  #take(message: Exclude<EngineMessage, { kind: 'open' | 'closed' }>): void {
    switch (message.kind) {
      case 'applied':
        this.applied(message.applied);
        return;
      case 'log':
        this.log[message.level](message.fields, message.message);
        return;
      case 'reply':
        this.#settle(message.id, ({ resolve }) => resolve(message.value as never));
        return;
      case 'refusal':
        this.#settle(message.id, ({ reject }) => reject(fromWire(message.fault)));
    }
  }

  #settle(id: number, how: (outstanding: Outstanding) => void): void {
    const outstanding = this.#outstanding.get(id);
    this.#outstanding.delete(id);
    if (outstanding) how(outstanding);
  }

  #failAll(): void {
    for (const id of this.#outstanding.keys()) this.#settle(id, ({ reject }) => reject(shuttingDown()));
  }
}

const shuttingDown = (): Fault => fault.unavailable('The server is shutting down');
