import type { ConfigMap, StatusCode } from '#api-contract';
import { Fault } from '#kit';
import type { CallContext, HostContext } from '#members';
import { internalIdentity, type Command } from '#replica/state';
import { instanceById, recordInstance, type InstanceRecord, type ServerWrite } from '../state/index.js';

export interface Recorded {
  volatile?: ConfigMap;
  status?: StatusCode;
  used?: boolean;
  stateful?: boolean;
  lifecycle?: { action: string; context?: Record<string, unknown> }[];
}

export const internalContext: CallContext = { identity: internalIdentity, requestId: '' };

/**
 * What this member writes about its instances. Without a quorum it waits in local.db, in order, and is written when there is one again: a container may
 * stop at any time, and the truth about it must not be lost.
 */
export class InstanceWriter {
  #draining?: Promise<void>;
  #stopped = false;

  constructor(private readonly context: HostContext) {
    context.local.migrate('instances-outbox', ['CREATE TABLE instances_outbox (number INTEGER PRIMARY KEY, payload TEXT NOT NULL)']);
  }

  /** Submits a command of a caller. @throws its Fault */
  async submit<P, R>(command: Command<P, R>, payload: P, by: CallContext): Promise<R> {
    return (await this.context.replica.submit(command, payload, { identity: by.identity, requestId: by.requestId })).result;
  }

  /** Records what happened to an instance; returns it as it is then. Must be known before the next step. @throws Fault */
  async record(record: Pick<InstanceRecord, 'id' | 'epoch'>, what: Recorded, by: CallContext = internalContext): Promise<InstanceRecord | undefined> {
    await this.submit(recordInstance, { id: record.id, epoch: record.epoch, ...what }, by);
    return instanceById(this.context.replica.reader, record.id);
  }

  /** Records what has happened already and cannot be refused: kept until it can be written. */
  async recordSurely(record: Pick<InstanceRecord, 'id' | 'epoch'>, what: Recorded, by: CallContext = internalContext): Promise<void> {
    try {
      // What waits from before comes first.
      if (!this.#draining) return void (await this.record(record, what, by));
    } catch (error) {
      this.context.log.warn({ err: error, instance: record.id }, 'could not record the state of an instance yet');
    }
    const payload: ServerWrite = { id: record.id, epoch: record.epoch, ...what };
    this.context.local.run('INSERT INTO instances_outbox (payload) VALUES (?)', JSON.stringify(payload));
    this.drain();
  }

  /** Writes what waits, now and until all is written. */
  drain(): void {
    this.#draining ??= this.#drainAll().finally(() => (this.#draining = undefined));
  }

  /** What still waits is written by the next daemon. */
  stop(): void {
    this.#stopped = true;
  }

  async #drainAll(): Promise<void> {
    const { local, log, replica } = this.context;
    while (!this.#stopped) {
      const next = local.get<{ number: number; payload: string }>('SELECT number, payload FROM instances_outbox ORDER BY number LIMIT 1');
      if (!next) return;
      try {
        await replica.submit(recordInstance, JSON.parse(next.payload) as ServerWrite, { identity: internalIdentity });
      } catch (error) {
        if (isPassing(error)) {
          await new Promise((resolve) => setTimeout(resolve, retryMs).unref());
          continue;
        }
        log.error({ err: error, payload: next.payload }, 'the state of an instance cannot be recorded');
      }
      local.run('DELETE FROM instances_outbox WHERE number = ?', next.number);
    }
  }
}

const retryMs = 500;

/** Another try may succeed: no quorum, a full queue, another leader. */
const isPassing = (error: unknown): boolean => error instanceof Fault && (error.kind === 'unavailable' || error.kind === 'notLeader');
