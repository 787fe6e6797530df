import { constants, type DatabaseSync } from 'node:sqlite';
import { assert } from '#kit/assert';
import type { Configuration, Position } from '#raft-ts';
import { MalformedChangeset, parse, type TableChanges } from '../codec/changeset.js';
import { createBaseTables } from '../sqlite/base-tables.js';
import { pendingMigrations, runMigration, unknownMigrations } from '../sqlite/migrate.js';
import { Shapes } from '../sqlite/schema.js';
import { StatementCache } from '../sqlite/statements.js';
import type { Migration, StateWing } from '../state/command.js';
import { Capture } from './capture.js';
import { BadEntry, type CommandRecord, type EntryContent } from './entry.js';
import { engineRules, type EngineRules } from './rules.js';
import { DatabaseFull, ReplicaStopped, type Standing, type StateMachine, type Step, TrialFailed } from './state-machine.js';
import { Submits } from './submits-table.js';

const SQLITE_FULL = 13;

export interface StateMachineOptions {
  /** Opens one more connection to the same database. Called twice. */
  readonly connect: (foreignKeys: boolean) => DatabaseSync;
  readonly wings: readonly StateWing[];
  readonly cluster: string;
  /** Used if the database is new. */
  readonly configuration: Configuration;
  readonly rules?: EngineRules;
}

interface MetaRow {
  applied: number;
  term: number;
  durable: number;
  schema: number;
  now: number;
  configuration: string;
}

/**
 * The replica in SQLite. Two connections: handlers run on the capture connection and are always rolled back; this class writes on the apply
 * connection, whose foreign keys are off, because CASCADE and SET NULL have already happened in the changeset and would fail twice.
 */
export class SqliteStateMachine implements StateMachine {
  readonly shapes: Shapes;
  readonly #statements: StatementCache;
  readonly #submits: Submits;
  /** Column count and key mask of each table, as text; cleared by migrations and installs. */
  readonly #headers = new Map<string, string>();
  /** The step whose transaction is open. */
  #open: Step | undefined;
  #trialOpen = false;
  #standing: Standing;
  #commits = 0;

  private constructor(
    /** The apply connection. */
    readonly db: DatabaseSync,
    readonly capture: Capture,
    private readonly wings: readonly StateWing[],
    private readonly rules: EngineRules,
  ) {
    this.#statements = new StatementCache(db);
    this.#submits = new Submits(this.#statements);
    this.shapes = new Shapes(db, wings);
    this.#standing = this.#read();
  }

  static async open({ connect, wings, cluster, configuration, rules = engineRules }: StateMachineOptions): Promise<SqliteStateMachine> {
    const db = connect(false);
    db.exec('PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = OFF');
    db.exec('BEGIN IMMEDIATE');
    createBaseTables(db, cluster);
    db.prepare("UPDATE meta SET configuration = ? WHERE configuration = '{}'").run(JSON.stringify(configuration));
    db.exec('COMMIT');
    return new SqliteStateMachine(db, await Capture.open(connect(true), wings), wings, rules);
  }

  /** As committed: a trial that is open shows in nothing. */
  standing(): Standing {
    return this.#standing;
  }

  /** The entry that brought this submit, if it is remembered. */
  submitted(submitId: string): number | undefined {
    return (this.#statements.prepare('SELECT entry FROM submits WHERE id = ?').get(submitId) as { entry: number } | undefined)?.entry;
  }

  pending(): Migration[] {
    return pendingMigrations(this.db, this.wings);
  }

  unknown(): string[] {
    return unknownMigrations(this.db, this.wings);
  }

  trial(step: Step): TableChanges[][] {
    const changes = this.#begin(step, true);
    this.#trialOpen = true;
    return changes;
  }

  commitTrial(): void {
    assert(this.#trialOpen, 'a trial is open');
    this.#trialOpen = false;
    this.#commit();
  }

  rollbackTrial(): void {
    if (!this.#trialOpen) return;
    this.#trialOpen = false;
    this.#rollback();
  }

  apply(step: Step): TableChanges[][] {
    assert(!this.#trialOpen, 'no trial is open while another entry is applied');
    const changes = this.#begin(step, false);
    this.#commit();
    return changes;
  }

  makeDurable(): number {
    assert(!this.db.isTransaction, 'no transaction is open while the replica is made durable');
    this.db.exec('PRAGMA synchronous = FULL');
    try {
      // One sync of the WAL covers every frame before this one.
      this.db.exec('UPDATE meta SET durable = applied');
    } catch (error) {
      throw translated(error);
    } finally {
      this.db.exec('PRAGMA synchronous = NORMAL');
    }
    this.#standing = { ...this.#standing, durable: this.#standing.index };
    return this.#standing.durable;
  }

  checkpoint(): void {
    assert(!this.db.isTransaction, 'no transaction is open during a checkpoint');
    try {
      this.db.exec('PRAGMA wal_checkpoint(PASSIVE)');
    } catch (error) {
      // Put off: the frames stay in the WAL, where they are as good.
      if (!(translated(error) instanceof DatabaseFull)) throw error;
    }
    this.#commits = 0;
  }

  /** Commits since the last checkpoint: what the engine goes by. */
  get commitsSinceCheckpoint(): number {
    return this.#commits;
  }

  /** After something else than apply has changed the database: an install. */
  forget(): void {
    this.#standing = this.#read();
    this.#headers.clear();
    this.shapes.forget();
  }

  async close(): Promise<void> {
    this.rollbackTrial();
    await this.capture.close();
    this.db.close();
  }

  #read(): Standing {
    const row = this.#statements.prepare('SELECT applied, term, durable, schema, now, configuration FROM meta').get() as unknown as MetaRow;
    const { applied, term, durable, schema, now } = row;
    return { index: applied, term, durable, schema, now, configuration: JSON.parse(row.configuration) as Configuration };
  }

  #begin(step: Step, trial: boolean): TableChanges[][] {
    assert(!this.db.isTransaction, 'one transaction at a time on the apply connection');
    this.db.exec('BEGIN IMMEDIATE');
    this.#open = step;
    try {
      this.#advance(step.position, step.base, step.content?.now);
      if (step.configuration) this.#statements.prepare('UPDATE meta SET configuration = ?').run(JSON.stringify(step.configuration));
      return step.content ? this.#content(step.content, step.position.index, trial) : [];
    } catch (error) {
      this.#rollback();
      throw translated(error);
    }
  }

  /** SQLite applies a changeset on a wrong state in silence wherever it happens to fit; this is what keeps it from being tried. */
  #advance(position: Position, base: Position, now: number | undefined): void {
    const { changes } = this.#statements
      .prepare('UPDATE meta SET applied = ?, term = ?, now = max(now, ?) WHERE applied = ? AND term = ?')
      .run(position.index, position.term, now ?? 0, position.index - 1, base.term);
    if (this.rules.baseFits(Number(changes) === 1 && base.index === position.index - 1)) return;
    const { index, term } = this.#standing;
    throw new ReplicaStopped(
      `entry ${position.index} wants to follow ${base.index} of term ${base.term}; the replica stands at ${index} of term ${term}`,
    );
  }

  #content(content: EntryContent, index: number, trial: boolean): TableChanges[][] {
    const { schema } = this.#standing;
    if (!this.rules.schemaFits(content.schema, schema))
      throw new ReplicaStopped(`entry ${index} is of schema ${content.schema}, the replica of schema ${schema}`);
    if (content.kind === 'batch') {
      const changes = content.commands.map((command, n) => this.#command(command, index, content.now, trial ? n : undefined));
      this.#submits.prune(index, content.now);
      return changes;
    }
    runMigration(this.db, content.migration, index);
    this.#headers.clear();
    this.shapes.forget();
    return [];
  }

  #command(command: CommandRecord, index: number, now: number, trialNumber: number | undefined): TableChanges[] {
    const changes = parse(command.changeset);
    try {
      this.#compareHeaders(changes);
      if (changes.length > 0 && !this.db.applyChangeset(command.changeset, { onConflict: () => constants.SQLITE_CHANGESET_ABORT })) {
        throw new ReplicaStopped(`the changeset of ${command.name} in entry ${index} does not fit`);
      }
    } catch (error) {
      if (trialNumber === undefined || translated(error) instanceof DatabaseFull) throw error;
      throw new TrialFailed(trialNumber, (error as Error).message);
    }
    this.#submits.record(command.submitId, index, now, command.result);
    return changes;
  }

  /** SQLite drops the rows of a table or column that it does not have, and calls the changeset applied. */
  #compareHeaders(changes: readonly TableChanges[]): void {
    for (const { table, columns, keyMask } of changes) {
      const theirs = `${columns}:${keyMask.map((place) => (place > 0 ? 1 : 0)).join('')}`;
      const ours = this.#headerOf(table);
      if (theirs !== ours) throw new ReplicaStopped(`table ${table} is ${theirs} in the entry and ${ours || 'not there'} in the replica`);
    }
  }

  #headerOf(table: string): string {
    let header = this.#headers.get(table);
    if (header === undefined) {
      const columns = this.#statements.prepare('SELECT pk FROM pragma_table_info(?) ORDER BY cid').all(table) as { pk: number }[];
      header = columns.length === 0 ? '' : `${columns.length}:${columns.map(({ pk }) => (pk > 0 ? 1 : 0)).join('')}`;
      this.#headers.set(table, header);
    }
    return header;
  }

  #commit(): void {
    try {
      this.db.exec('COMMIT');
      this.#commits += 1;
      this.#standing = after(this.#standing, this.#open as Step);
      this.#open = undefined;
    } catch (error) {
      this.#rollback();
      throw translated(error);
    }
  }

  #rollback(): void {
    if (this.db.isTransaction) this.db.exec('ROLLBACK');
    this.#open = undefined;
    // What a migration had changed in these is undone with it.
    this.#headers.clear();
    this.shapes.forget();
  }
}

function after(standing: Standing, { position, content, configuration }: Step): Standing {
  return {
    ...standing,
    index: position.index,
    term: position.term,
    now: Math.max(standing.now, content?.now ?? 0),
    schema: standing.schema + (content?.kind === 'migration' ? 1 : 0),
    configuration: configuration ?? standing.configuration,
  };
}

function translated(error: unknown): unknown {
  if ((error as { errcode?: number }).errcode === SQLITE_FULL) return new DatabaseFull(error);
  if (error instanceof MalformedChangeset || error instanceof BadEntry) return new ReplicaStopped(error.message, { cause: error });
  if (error instanceof ReplicaStopped || error instanceof TrialFailed || error instanceof DatabaseFull) return error;
  return new ReplicaStopped((error as Error).message, { cause: error });
}
