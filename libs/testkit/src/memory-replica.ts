import { randomBytes } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { type Clock, fault, systemClock } from '#kit';
import type { Applied, Effect, HistoryEntry, Replica, ReplicaStatus, Submitted, SubmitOptions } from '#replica';
import { Capture, createBaseTables, describe, parse, pendingMigrations, runMigration, Shapes, SqlOn, StatementCache, touched } from '#replica/engine';
import type { Command, Reader, StateWing } from '#replica/state';

export interface MemoryReplicaOptions {
  wings: readonly StateWing[];
  clock?: Clock;
}

/**
 * A replica for the tests of state wings: the ports of the real one over a single database in memory. Commands run by the engine's own capture
 * code (the same refusals of DDL, BEGIN and floating promises), but there is no log, no worker and no second member.
 */
export class MemoryReplica implements Replica {
  readonly reader: Reader;
  /** The database itself, for looking around in a test. */
  readonly db: DatabaseSync;
  readonly #capture: Capture;
  readonly #shapes: Shapes;
  readonly #clock: Clock;
  readonly #known: ReadonlySet<Command>;
  readonly #listeners = new Set<(applied: Applied) => void>();
  readonly #history: HistoryEntry[] = [];
  readonly #submits = new Map<string, number>();
  #index = 0;
  #now = 0;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(db: DatabaseSync, capture: Capture, { wings, clock = systemClock }: MemoryReplicaOptions) {
    this.db = db;
    this.#capture = capture;
    this.#clock = clock;
    this.#shapes = new Shapes(db, wings);
    this.#known = new Set(wings.flatMap((wing) => wing.commands));
    const plain = new SqlOn(new StatementCache(db));
    this.reader = { all: (sql, ...parameters) => plain.all(sql, ...parameters), get: (sql, ...parameters) => plain.get(sql, ...parameters) };
  }

  /** Runs the migrations of all wings, in order. */
  static async open(options: MemoryReplicaOptions): Promise<MemoryReplica> {
    const db = new DatabaseSync(':memory:');
    createBaseTables(db, 'memory');
    for (const migration of pendingMigrations(db, options.wings)) runMigration(db, migration, 0);
    return new MemoryReplica(db, await Capture.open(db, options.wings), options);
  }

  submit<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<Submitted<R>> {
    return this.#inTurn(async () => {
      const { result, lifecycle, changeset } = await this.#run(command, payload, options);
      await this.#capture.commit();
      const index = (this.#index += 1);
      const submitId = randomBytes(16).toString('hex');
      this.#submits.set(submitId, index);
      const time = new Date(this.#now);
      const changes = parse(changeset);
      this.#history.push({
        index,
        part: 0,
        time: time.toISOString(),
        identity: options.identity,
        command: command.name,
        project: lifecycle[0]?.project ?? 'default',
        requestId: options.requestId ?? '',
        changes: describe(changes, this.#shapes.of),
        invertible: changes.length > 0,
      });
      const mine = { name: command.name, identity: options.identity, requestId: options.requestId, submitId, lifecycle, mine: true };
      for (const listener of this.#listeners) listener({ index, time, commands: [mine], touched: touched(changes) });
      return { result: JSON.parse(result) as R, index };
    });
  }

  dryRun<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions): Promise<{ would: Effect[]; result: R }> {
    return this.#inTurn(async () => {
      const { result, changeset } = await this.#run(command, payload, options);
      await this.#capture.rollback();
      return { would: describe(parse(changeset), this.#shapes.of), result: JSON.parse(result) as R };
    });
  }

  async submitted(submitId: string): Promise<{ state: 'applied'; index: number } | { state: 'unknown' }> {
    const index = this.#submits.get(submitId);
    return index === undefined ? { state: 'unknown' } : { state: 'applied', index };
  }

  async barrier(): Promise<void> {
    await this.#queue;
  }

  watch(listener: (applied: Applied) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async status(): Promise<ReplicaStatus> {
    const schema = this.reader.get<{ schema: number }>('SELECT schema FROM meta')?.schema ?? 0;
    const index = this.#index;
    return { member: { id: 1, clusterId: 'memory' }, role: 'leader', leader: 1, term: 1, commit: index, applied: index, durable: index, schema };
  }

  async history({ from = 1, limit = 100, project }: { from?: number; limit?: number; project?: string }) {
    const entries = this.#history.filter((entry) => entry.index >= from && (project === undefined || entry.project === project)).slice(0, limit);
    return { entries, span: { from: 1, to: this.#index, gaps: [] as [number, number][] } };
  }

  async revert(): Promise<never> {
    throw fault.unsupported('The replica in memory keeps no changesets');
  }

  async compact(): Promise<void> {}

  async close(): Promise<void> {
    await this.#queue;
    await this.#capture.close();
  }

  /** Leaves the batch open: the caller commits or rolls back. */
  async #run<P, R>(command: Command<P, R>, payload: P, options: SubmitOptions) {
    if (!this.#known.has(command as Command)) throw fault.internal('Internal error', { detail: `command ${command.name} is in no wing` });
    this.#now = Math.max(this.#now, this.#clock.now().getTime());
    await this.#capture.begin();
    try {
      // What travels is JSON: a payload that does not survive it must fail here as it would there.
      const copy = JSON.parse(JSON.stringify(payload ?? null)) as P;
      const captured = await this.#capture.run({ command: command as Command, payload: copy, identity: options.identity, now: new Date(this.#now) });
      await this.#capture.settle();
      if (captured.floated()) throw fault.internal('Internal error', { detail: `a promise of ${command.name} was not awaited` });
      return captured;
    } catch (error) {
      await this.#capture.rollback();
      throw error;
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }
}
