import 'reflect-metadata';
import { DataSource, type EntityManager, type QueryRunner } from 'typeorm';
import type { DatabaseSync } from 'node:sqlite';
import { assert, Fault, fault } from '#kit';
import { SqlOn, StatementCache } from '../sqlite/statements.js';
import type { Command, Identity, Lifecycle, MembershipChange, StateWing } from '../state/command.js';
import { captureAuthorizer } from '../typeorm/authorizer.js';
import { FloatingStatement, Gate, type Turn } from '../typeorm/gate.js';
import { nodeSqliteDriver } from '../typeorm/node-sqlite.js';

/** A result is kept with its submit id for ten minutes, so it is small. */
export const RESULT_BYTES_MAX = 4096;

export interface CaptureRequest {
  readonly command: Command;
  readonly payload: unknown;
  readonly identity: Identity;
  readonly now: Date;
  /** False for a dry run: what it did is undone at once, so that the next command does not see it. True by default. */
  readonly keep?: boolean;
}

/** One command's changeset; a batch has no more in all. */
export const CHANGESET_BYTES_MAX = 1024 * 1024;

export interface Captured {
  /** JSON text of what the handler returned; `null` for nothing. */
  readonly result: string;
  readonly lifecycle: Lifecycle[];
  readonly changeset: Uint8Array;
  /** What it does to the membership; an entry of its own is due then. */
  readonly membership?: readonly MembershipChange[];
  /** True once a promise of the handler turned up after its end. Known only when the batch has been settled. @see Capture.settle */
  floated(): boolean;
}

/** A handler spoilt the transactions around it. What the batch has captured is worth nothing; it is rolled back, and the runner made anew. */
export class CaptureBroken extends Error {
  constructor(command: string, cause: unknown) {
    super(`the capture broke in ${command}`, { cause });
    this.name = 'CaptureBroken';
  }
}

/** What of TypeORM's runner is not in its public type, and yet the only way to know that a handler left its transactions balanced. */
type Depth = { transactionDepth: number };

/** What a wing's handler wants of the id sequences, on the connection it runs on. */
function nextIdOn(sql: SqlOn): (sequence: string) => number {
  return (sequence) => {
    const row = sql.get<{ last: number }>(
      'INSERT INTO sequences(name, last) VALUES (?, 1) ON CONFLICT(name) DO UPDATE SET last = last + 1 RETURNING last',
      sequence,
    );
    assert(row, 'a sequence always answers');
    return row.last;
  };
}

/**
 * The connection on which handlers run: foreign keys on, TypeORM beside plain SQL, a session recording each command. Nothing on it is ever
 * committed by the engine: what a batch did is taken as changesets and rolled back.
 *
 * The order of calls is begin, run…, settle, rollback. One QueryRunner owns every transaction; batch outermost, command and handler nested.
 */
export class Capture {
  readonly #gate: Gate;
  readonly #sql: SqlOn;
  #runner: QueryRunner;
  #usedManager = false;

  private constructor(
    private readonly db: DatabaseSync,
    private readonly source: DataSource,
    statements: StatementCache,
    gate: Gate,
  ) {
    this.#gate = gate;
    this.#sql = new SqlOn(statements, (sql) => gate.check(sql));
    this.#runner = source.createQueryRunner();
  }

  /** Takes over `db`, whose tables exist already; `close` closes it. */
  static async open(db: DatabaseSync, wings: readonly StateWing[]): Promise<Capture> {
    const gate = new Gate();
    const statements = new StatementCache(db);
    const source = new DataSource({
      type: 'better-sqlite3',
      database: ':memory:', // the driver below has its connection already
      driver: nodeSqliteDriver(db, statements, gate),
      statementCacheSize: 0,
      entities: wings.flatMap((wing) => [...wing.entities]),
      synchronize: false,
      logging: false,
    });
    await gate.during(engineTurn('opening'), () => source.initialize());
    db.setAuthorizer(captureAuthorizer(gate));
    return new Capture(db, source, statements, gate);
  }

  async begin(): Promise<void> {
    this.#usedManager = false;
    await this.#asEngine(() => this.#runner.startTransaction());
  }

  /**
   * Runs one command. If it fails it has undone itself, and only itself.
   * @throws Fault the handler's own; internal for anything else; CaptureBroken if it could not be undone, and the batch must be given up
   */
  async run(request: CaptureRequest): Promise<Captured> {
    await this.#asEngine(() => this.#runner.startTransaction());
    const depth = this.#depth();
    const turn: Turn = { owner: request.command.name, engine: false, floated: false };
    const lifecycle: Lifecycle[] = [];
    const membership: MembershipChange[] = [];
    const session = this.db.createSession();
    try {
      const returned = await this.#gate.during(turn, () => request.command.run(this.#context(request, lifecycle, membership), request.payload));
      if (this.#depth() !== depth || turn.floated) throw new FloatingStatement(request.command.name);
      const result = JSON.stringify(returned ?? null);
      if (result.length > RESULT_BYTES_MAX)
        throw new Fault('internal', 'Internal error', { detail: `result of ${request.command.name} has ${result.length} bytes` });
      const changeset = session.changeset();
      if (changeset.length > CHANGESET_BYTES_MAX)
        throw fault.tooLarge('The change is too large', { detail: `${request.command.name} made ${changeset.length} bytes` });
      await this.#asEngine(() => (request.keep === false ? this.#runner.rollbackTransaction() : this.#runner.commitTransaction()));
      return { result, lifecycle, changeset, ...(membership.length > 0 ? { membership } : {}), floated: () => turn.floated };
    } catch (thrown) {
      await this.#undo(depth, request.command.name);
      throw Fault.from(thrown);
    } finally {
      session.close();
    }
  }

  /** Lets promises that were not awaited come up and be refused, so that `floated` tells the truth. Free if no handler touched TypeORM. */
  async settle(): Promise<void> {
    if (this.#usedManager) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Undoes the whole batch. After an error here, or an unbalanced depth, the runner is thrown away and made anew. */
  async rollback(): Promise<void> {
    try {
      assert(this.#depth() === 1, 'a batch ends with its outermost transaction alone');
      await this.#asEngine(() => this.#runner.rollbackTransaction());
    } catch {
      await this.#asEngine(() => this.#renew());
    }
  }

  /** Keeps the batch. Only for a database without a log (the testkit's). */
  async commit(): Promise<void> {
    assert(this.#depth() === 1, 'a batch ends with its outermost transaction alone');
    await this.#asEngine(() => this.#runner.commitTransaction());
  }

  /** Statements of the engine between commands, on this connection and in the open transaction. */
  read<T>(work: (sql: SqlOn) => T): Promise<T> {
    return this.#asEngine(() => work(this.#sql));
  }

  async close(): Promise<void> {
    this.db.setAuthorizer(null);
    await this.source.destroy();
  }

  #context({ identity, now }: CaptureRequest, lifecycle: Lifecycle[], membership: MembershipChange[]) {
    const manager = (): EntityManager => {
      this.#usedManager = true;
      return this.#runner.manager;
    };
    return {
      sql: this.#sql,
      get em() {
        return manager();
      },
      now,
      identity,
      nextId: nextIdOn(this.#sql),
      emit: (event: Lifecycle) => void lifecycle.push(event),
      configure(changes: readonly MembershipChange[]): void {
        assert(membership.length === 0 && changes.length > 0, 'a command changes the membership once');
        membership.push(...changes);
      },
    };
  }

  /** Back to before the command, with the savepoints that an unbalanced handler left open inside of its own. */
  async #undo(depth: number, command: string): Promise<void> {
    try {
      while (this.#depth() >= depth) await this.#asEngine(() => this.#runner.rollbackTransaction());
    } catch (cause) {
      throw new CaptureBroken(command, cause);
    }
  }

  #depth(): number {
    return (this.#runner as unknown as Depth).transactionDepth;
  }

  #asEngine<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#gate.during(engineTurn('the engine'), work);
  }

  #renew(): void {
    if (this.db.isTransaction) this.db.exec('ROLLBACK');
    (this.source.driver as unknown as { queryRunner?: QueryRunner }).queryRunner = undefined;
    this.#runner = this.source.createQueryRunner();
  }
}

function engineTurn(owner: string): Turn {
  return { owner, engine: true, floated: false };
}
