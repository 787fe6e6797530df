import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { fault } from '#kit';
import { parse } from '../codec/changeset.js';
import { describe } from '../codec/describe.js';
import type { HistoryRow } from '../engine/history.js';
import type { SubmitRequest } from '../engine/ports.js';
import { conflictsOf, inverseOf, revertCommand, type RevertPayload } from '../engine/revert.js';
import type { Applied, Effect, HistoryEntry, Replica, ReplicaStatus, Submitted, SubmitOptions } from '../ports.js';
import { Shapes } from '../sqlite/schema.js';
import { SqlOn, StatementCache } from '../sqlite/statements.js';
import type { Command, Reader, StateWing } from '../state/command.js';
import { Rounds } from './rounds.js';
import type { WorkerClient } from './worker-client.js';

const TIMEOUT_MS = 30_000;
/** Bodies of JSON requests are at most 16 MiB; no command needs as much. */
const PAYLOAD_BYTES_MAX = 4 * 1024 * 1024;

/** The main thread's side of the replica: writes go to the worker as commands, reads are answered here from a connection that cannot write. */
export class ReplicaHandle implements Replica {
  readonly reader: Reader;
  readonly #listeners = new Set<(applied: Applied) => void>();
  readonly #shapes: Shapes;
  readonly #barrier: Rounds;

  constructor(
    private readonly client: WorkerClient,
    private readonly db: DatabaseSync,
    wings: readonly StateWing[],
    private readonly lock: Disposable | undefined,
  ) {
    this.reader = readerOn(db);
    this.#shapes = new Shapes(db, wings);
    this.#barrier = new Rounds(() => client.call('barrier'));
  }

  async submit<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<Submitted<R>> {
    const outcome = await this.client.call('submit', request(command.name, payload, options));
    if (outcome.kind !== 'applied') throw fault.internal('Internal error', { detail: 'a submit was answered like a dry run' });
    return { result: JSON.parse(outcome.result) as R, index: outcome.index };
  }

  async dryRun<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<{ would: Effect[]; result: R }> {
    const outcome = await this.client.call('dryRun', request(command.name, payload, options));
    if (outcome.kind !== 'would') throw fault.internal('Internal error', { detail: 'a dry run was answered like a submit' });
    return { would: outcome.would, result: JSON.parse(outcome.result) as R };
  }

  submitted(submitId: string): Promise<{ state: 'applied'; index: number } | { state: 'unknown' }> {
    return this.client.call('submitted', submitId);
  }

  barrier(): Promise<void> {
    return this.#barrier.wait();
  }

  watch(listener: (applied: Applied) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Called by the worker's client, in order. */
  applied(applied: Applied): void {
    if (applied.touched === 'everything') this.#shapes.forget();
    for (const listener of this.#listeners) listener(applied);
  }

  status(): Promise<ReplicaStatus> {
    return this.client.call('status');
  }

  async history(query: { from?: number; limit?: number; project?: string }) {
    const { rows, span } = await this.client.call('history', query);
    return { entries: rows.map((row) => this.#historyEntry(row)), span: { ...span, gaps: [...span.gaps] } };
  }

  async revert(index: number, options: SubmitOptions & { dryRun?: boolean; part?: number }): Promise<{ would?: Effect[]; index?: number }> {
    const rows = (await this.client.call('historyEntry', index)).filter((row) => options.part === undefined || row.part === options.part);
    if (rows.length === 0) throw fault.notFound('History entry not found');
    const payload: RevertPayload = {
      index,
      project: rows[0]?.project ?? 'default',
      changesets: rows.map((row) => Buffer.from(row.changeset).toString('base64')),
    };
    if (options.dryRun) return { would: (await this.dryRun(revertCommand, payload, options)).would };
    return { index: (await this.submit(revertCommand, payload, options)).index };
  }

  compact(): Promise<void> {
    return this.client.call('compact');
  }

  async close(): Promise<void> {
    await this.client.close();
    if (this.db.isOpen) this.db.close();
    this.lock?.[Symbol.dispose]();
  }

  #historyEntry({ index, part, time, identity, command, project, requestId, changeset }: HistoryRow): HistoryEntry {
    const inverse = inverseOf(changeset);
    return {
      index,
      part,
      time: new Date(time).toISOString(),
      identity,
      command,
      project,
      requestId,
      changes: describe(parse(changeset), this.#shapes.of),
      invertible: inverse.length > 0 && conflictsOf(this.reader, inverse).length === 0,
    };
  }
}

function request(name: string, payload: unknown, { identity, requestId = '', timeoutMs = TIMEOUT_MS }: SubmitOptions): SubmitRequest {
  const text = JSON.stringify(payload ?? null);
  if (text.length > PAYLOAD_BYTES_MAX) throw fault.tooLarge('The change is too large');
  return { name, payload: text, identity, submitId: randomBytes(16).toString('hex'), requestId, timeoutMs };
}

/** Rows are read with `.all()` or `.get()` only: an iterator left open would hold its read transaction, and the WAL would grow behind it. */
function readerOn(db: DatabaseSync): Reader {
  const sql = new SqlOn(new StatementCache(db));
  return { all: (text, ...parameters) => sql.all(text, ...parameters), get: (text, ...parameters) => sql.get(text, ...parameters) };
}
