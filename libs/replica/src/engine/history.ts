import type { DatabaseSync } from 'node:sqlite';
import { StatementCache } from '../sqlite/statements.js';
import type { Identity } from '../state/command.js';

/** One command of the past, with the changeset that it was. */
export interface HistoryRow {
  readonly index: number;
  /** Its number in the entry, from 0. */
  readonly part: number;
  readonly time: number;
  readonly identity: Identity;
  readonly command: string;
  readonly project: string;
  readonly requestId: string;
  readonly changeset: Uint8Array;
}

export interface HistoryLimits {
  readonly keptMs: number;
  readonly keptBytes: number;
}

const LIMITS: HistoryLimits = { keptMs: 30 * 24 * 3600_000, keptBytes: 64 * 1024 * 1024 };
/** Rows are gathered and written together; what a crash takes is read from the log again. */
const GATHER_MAX = 256;
const CUT_EVERY = 512;

interface Row {
  entry: number;
  part: number;
  time: number;
  identity: string;
  command: string;
  project: string;
  request: string;
  changeset: Uint8Array;
}

/**
 * What was done, by whom: a store of its own on each member, cut by time and size, in no snapshot. The log may be compacted only behind
 * `flush`, so that after a crash the log still has what was gathered and not yet written.
 */
export class History {
  readonly #statements: StatementCache;
  readonly #gathered: HistoryRow[] = [];
  #last: number;
  #sinceCut = 0;
  /** `last` as written. */
  #written: number;

  constructor(
    private readonly db: DatabaseSync,
    private readonly limits: HistoryLimits = LIMITS,
  ) {
    db.exec(`
      CREATE TABLE IF NOT EXISTS history(entry INTEGER NOT NULL, part INTEGER NOT NULL, time INTEGER NOT NULL, identity TEXT NOT NULL, command TEXT NOT NULL,
        project TEXT NOT NULL, request TEXT NOT NULL, changeset BLOB NOT NULL, PRIMARY KEY (entry, part)) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS gaps(low INTEGER PRIMARY KEY, high INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS reached(id INTEGER PRIMARY KEY CHECK (id = 1), entry INTEGER NOT NULL, cut INTEGER NOT NULL, bytes INTEGER NOT NULL);
      INSERT OR IGNORE INTO reached VALUES (1, 0, 0, 0);
    `);
    this.#statements = new StatementCache(db);
    this.#last = this.#reached().entry;
    this.#written = this.#last;
  }

  /** Everything up to this index is in here, is known to have no rows, or is a gap. */
  get last(): number {
    return this.#last;
  }

  /** Takes in an applied entry; one that it has already is passed over. */
  add(index: number, rows: readonly HistoryRow[]): void {
    if (index <= this.#last) return;
    if (index > this.#last + 1) this.#gap(this.#last + 1, index - 1);
    this.#last = index;
    this.#gathered.push(...rows);
    if (this.#gathered.length >= GATHER_MAX) this.flush();
  }

  /** Entries that this member never saw one by one: they came with a snapshot. */
  skipTo(index: number): void {
    if (index <= this.#last) return;
    this.#gap(this.#last + 1, index);
    this.#last = index;
    this.flush();
  }

  /** Before the log forgets what is in here. */
  flushDurably(): void {
    this.db.exec('PRAGMA synchronous = FULL');
    try {
      // Also with nothing gathered: rows that were written before are safe only behind a synced commit.
      this.flush(true);
    } finally {
      this.db.exec('PRAGMA synchronous = NORMAL');
    }
  }

  flush(always = false): void {
    if (!always && this.#gathered.length === 0 && this.#written === this.#last) return;
    this.db.exec('BEGIN IMMEDIATE');
    try {
      this.#write(this.#gathered);
      this.db.exec('COMMIT');
    } catch (error) {
      if (this.db.isTransaction) this.db.exec('ROLLBACK');
      throw error;
    }
    this.#gathered.length = 0;
    this.#written = this.#last;
  }

  #write(rows: readonly HistoryRow[]): void {
    const insert = this.#statements.prepare('INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
    let bytes = 0;
    for (const row of rows) {
      insert.run(row.index, row.part, row.time, JSON.stringify(row.identity), row.command, row.project, row.requestId, row.changeset);
      bytes += row.changeset.length;
    }
    this.#statements.prepare('UPDATE reached SET entry = ?, bytes = bytes + ?').run(this.#last, bytes);
    this.#sinceCut += rows.length;
    if (this.#sinceCut >= CUT_EVERY) this.#cut(rows.at(-1)?.time ?? 0);
  }

  read({ from = 1, limit = 100, project }: { from?: number | undefined; limit?: number | undefined; project?: string | undefined }): HistoryRow[] {
    if (this.#gathered.length > 0) this.flush();
    const rows =
      project === undefined
        ? this.#statements.prepare('SELECT * FROM history WHERE entry >= ? ORDER BY entry, part LIMIT ?').all(from, limit)
        : this.#statements.prepare('SELECT * FROM history WHERE entry >= ? AND project = ? ORDER BY entry, part LIMIT ?').all(from, project, limit);
    return (rows as unknown as Row[]).map(rowOf);
  }

  /** The commands of one entry, in order; empty if it is not here. */
  entry(index: number): HistoryRow[] {
    if (this.#gathered.length > 0) this.flush();
    return (this.#statements.prepare('SELECT * FROM history WHERE entry = ? ORDER BY part').all(index) as unknown as Row[]).map(rowOf);
  }

  /** From the first index that is kept, to the last; gaps lie between. */
  span(): { from: number; to: number; gaps: [number, number][] } {
    const from = this.#reached().cut + 1;
    const gaps = this.#statements.prepare('SELECT low, high FROM gaps WHERE high >= ? ORDER BY low').all(from) as { low: number; high: number }[];
    return { from, to: this.#last, gaps: gaps.map(({ low, high }) => [low, high]) };
  }

  close(): void {
    this.flush();
    this.db.close();
  }

  #gap(low: number, high: number): void {
    this.#statements.prepare('INSERT OR REPLACE INTO gaps VALUES (?, ?)').run(low, high);
  }

  #reached(): { entry: number; cut: number; bytes: number } {
    return this.#statements.prepare('SELECT entry, cut, bytes FROM reached').get() as { entry: number; cut: number; bytes: number };
  }

  #cut(now: number): void {
    this.#sinceCut = 0;
    let { bytes, cut } = this.#reached();
    const oldest = this.#statements.prepare(
      'SELECT entry, max(time) time, sum(length(changeset)) bytes FROM history GROUP BY entry ORDER BY entry LIMIT 64',
    );
    for (;;) {
      const goners: { entry: number; bytes: number }[] = [];
      for (const row of oldest.all() as { entry: number; time: number; bytes: number }[]) {
        if (row.time >= now - this.limits.keptMs && bytes <= this.limits.keptBytes) break;
        goners.push(row);
        bytes -= row.bytes;
        cut = row.entry;
      }
      if (goners.length === 0) break;
      this.#statements.prepare('DELETE FROM history WHERE entry <= ?').run(cut);
    }
    this.#statements.prepare('UPDATE reached SET cut = ?, bytes = ?').run(cut, Math.max(0, bytes));
  }
}

function rowOf({ entry, part, time, identity, command, project, request, changeset }: Row): HistoryRow {
  return { index: entry, part, time, identity: JSON.parse(identity) as Identity, command, project, requestId: request, changeset };
}
