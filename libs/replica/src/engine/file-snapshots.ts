import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import type { Configuration, SnapshotChunk, SnapshotMeta } from '#raft-ts';
import { PAGE_BYTES } from '../sqlite/connect.js';
import type { SnapshotHeader, Snapshots } from './snapshots.js';

/** More pages than a database has: the backup is one job of the thread pool. In small steps it waits behind every other job, each time. */
const ALL_PAGES = 0x7fff_ffff;
const TRIES = 5;
const READ_BYTES = 1024 * 1024;
const FEATURE_LEVEL = 1;

/** Snapshots as files of a directory: `INDEX-TERM.db` with its header `INDEX-TERM.json`; `*.part` while they are made or come in. */
export class FileSnapshots implements Snapshots {
  constructor(
    private readonly directory: string,
    private readonly replicaPath: string,
  ) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  async take(): Promise<SnapshotHeader> {
    const source = new DatabaseSync(this.replicaPath, { readOnly: true });
    const part = join(this.directory, 'taken.part');
    try {
      // Without a read transaction the backup begins anew with every commit of another connection, and may never end.
      source.exec('BEGIN');
      const row = source.prepare('SELECT applied, term, schema, configuration FROM meta').get() as {
        applied: number;
        term: number;
        schema: number;
        configuration: string;
      };
      removeDatabase(part);
      await retried(() => backup(source, part, { rate: ALL_PAGES }));
      const sizeBytes = statSync(part).size;
      const header: SnapshotHeader = {
        format: 1,
        schema: row.schema,
        pageSize: PAGE_BYTES,
        featureLevel: FEATURE_LEVEL,
        index: row.applied,
        term: row.term,
        configuration: JSON.parse(row.configuration) as Configuration,
        sha256: hashOf(part),
        sizeBytes,
      };
      const name = `${row.applied}-${row.term}`;
      syncFile(part);
      writeFileSync(join(this.directory, `${name}.json.part`), JSON.stringify(header), { mode: 0o600 });
      syncFile(join(this.directory, `${name}.json.part`));
      renameSync(part, join(this.directory, `${name}.db`));
      renameSync(join(this.directory, `${name}.json.part`), join(this.directory, `${name}.json`));
      this.#syncDirectory();
      return header;
    } finally {
      source.close();
    }
  }

  latest(): SnapshotMeta | undefined {
    const newest = this.#headers().at(-1);
    return (
      newest && { index: newest.index, term: newest.term, configuration: newest.configuration, sizeBytes: newest.sizeBytes, hash: newest.sha256 }
    );
  }

  read(meta: SnapshotMeta, offset: number, maxBytes: number): Uint8Array | undefined {
    const path = join(this.directory, `${meta.index}-${meta.term}.db`);
    if (!existsSync(path)) return undefined;
    const fd = openSync(path, 'r');
    try {
      const bytes = new Uint8Array(Math.min(maxBytes, meta.sizeBytes - offset));
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, offset));
    } finally {
      closeSync(fd);
    }
  }

  receive({ meta, offset, data }: SnapshotChunk): void {
    const path = join(this.directory, this.fileOf(meta));
    const fd = openSync(path, existsSync(path) ? 'r+' : 'wx', 0o600);
    try {
      writeSync(fd, data, 0, data.length, offset);
    } finally {
      closeSync(fd);
    }
  }

  complete(meta: SnapshotMeta): boolean {
    const path = join(this.directory, this.fileOf(meta));
    if (!existsSync(path)) return false;
    if (statSync(path).size > meta.sizeBytes) truncateSync(path, meta.sizeBytes);
    if (statSync(path).size !== meta.sizeBytes || hashOf(path) !== meta.hash) {
      rmSync(path);
      return false;
    }
    syncFile(path);
    this.#syncDirectory();
    return true;
  }

  fileOf(meta: SnapshotMeta): string {
    return `received-${meta.index}-${meta.term}-${meta.hash.slice(0, 16)}.db`;
  }

  async install(file: string): Promise<void> {
    const source = new DatabaseSync(join(this.directory, file), { readOnly: false });
    try {
      await retried(() => backup(source, this.replicaPath, { rate: ALL_PAGES }));
    } finally {
      source.close();
    }
  }

  remove(file: string): void {
    removeDatabase(join(this.directory, file));
  }

  tidy(keep: string | undefined): void {
    const newest = this.#headers().at(-1);
    const name = newest && `${newest.index}-${newest.term}`;
    for (const file of readdirSync(this.directory)) {
      if (file === keep || file === `${name}.db` || file === `${name}.json` || file.startsWith('received-')) continue;
      rmSync(join(this.directory, file));
    }
  }

  #headers(): SnapshotHeader[] {
    return readdirSync(this.directory)
      .filter((file) => file.endsWith('.json'))
      .map((file) => JSON.parse(readFileSync(join(this.directory, file), 'utf8')) as SnapshotHeader)
      .sort((a, b) => a.index - b.index);
  }

  #syncDirectory(): void {
    syncFile(this.directory);
  }
}

/** Any rejection is worth another try: a backup fails with "not an error" when another connection was quicker. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if (left <= 1) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function hashOf(path: string): string {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  const chunk = new Uint8Array(READ_BYTES);
  try {
    for (let n = readSync(fd, chunk); n > 0; n = readSync(fd, chunk)) hash.update(chunk.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** A database at rest, with what SQLite may have left beside it. */
function removeDatabase(path: string): void {
  for (const name of [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]) rmSync(name, { force: true });
}
