import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rename, rm, rmdir, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fault } from '#kit';
import { instanceBackupsPath, volumeBackupsPath } from '../model/index.js';
import type { BackupKind, PlacedBackup } from '../state/index.js';

const unfinished = '.part';
const incoming = 'incoming-';
const syncAfterMs = 5_000;

/**
 * STATE/backups: a file for each backup, under its id, so that a rename of whatever it is of moves nothing; and beside them, where people and tools look
 * (instances/NAME/BACKUP, custom/POOL/PROJECT_VOLUME/BACKUP), links to those files, made anew from the rows whenever they may have changed.
 */
export class BackupFiles {
  #linking: Promise<void> = Promise.resolve();

  /** @param directory STATE/backups */
  constructor(private readonly directory: string) {}

  /** Removes what a crash left half written. */
  async start(): Promise<void> {
    await mkdir(this.#data, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#data)) {
      if (name.includes(unfinished) || name.startsWith(incoming)) await rm(join(this.#data, name), { recursive: true, force: true });
    }
  }

  path(kind: BackupKind, id: number): string {
    return join(this.#data, `${kind}-${id}`);
  }

  /** A place for what is needed while a backup is written; it goes with the file that is not finished. */
  workPath(kind: BackupKind, id: number): string {
    return `${this.path(kind, id)}${unfinished}.work`;
  }

  /** A place for anything else that is there only meanwhile. */
  temporaryPath(): string {
    return join(this.#data, `${incoming}${randomBytes(8).toString('hex')}`);
  }

  /** Begins a backup's file. */
  async begin(kind: BackupKind, id: number): Promise<{ file: FileHandle; path: string }> {
    const path = `${this.path(kind, id)}${unfinished}`;
    return { file: await open(path, 'wx', 0o600), path };
  }

  /**
   * It is whole. The disk itself has it some seconds later, unless it is gone by then: most backups are downloaded and deleted at once, and to wait for the
   * disk took longer than all the rest.
   */
  async finish(kind: BackupKind, id: number): Promise<void> {
    const path = this.path(kind, id);
    await rename(`${path}${unfinished}`, path);
    setTimeout(() => void this.#sync(path), syncAfterMs).unref();
  }

  async #sync(path: string): Promise<void> {
    for (const one of [path, this.#data]) {
      const file = await open(one, 'r').catch(() => undefined);
      await file?.sync().catch(() => {});
      await file?.close();
    }
  }

  /** Whole or not. Nothing there is success. */
  async remove(kind: BackupKind, id: number): Promise<void> {
    const path = this.path(kind, id);
    for (const one of [path, `${path}${unfinished}`, this.workPath(kind, id)]) await rm(one, { recursive: true, force: true });
  }

  async exists(kind: BackupKind, id: number): Promise<boolean> {
    return stat(this.path(kind, id)).then(
      () => true,
      () => false,
    );
  }

  /** @throws Fault notFound */
  async read(kind: BackupKind, id: number): Promise<{ stream: Readable; size: number; modified: Date }> {
    const path = this.path(kind, id);
    try {
      const { size, mtime } = await stat(path);
      return { stream: createReadStream(path, { highWaterMark: 1024 * 1024 }), size, modified: mtime };
    } catch (error) {
      throw fault.notFound('The file of the backup is missing', { cause: error });
    }
  }

  /** Takes a body to disk. Whoever asked for it removes it by disposing. @throws Fault invalid: it broke off; unavailable: no space */
  async receive(body: Readable): Promise<AsyncDisposable & { path: string }> {
    const path = this.temporaryPath();
    const received = { path, [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    const file = await open(path, 'wx', 0o600);
    try {
      await pipeline(body, file.createWriteStream({ highWaterMark: 1024 * 1024 }));
      return received;
    } catch (error) {
      await file.close().catch(() => {});
      await received[Symbol.asyncDispose]();
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw fault.unavailable('No space left for the backup', { status: 500, cause: error });
      throw fault.invalid('The upload of the backup broke off', { cause: error, detail: String(error) });
    }
  }

  /** Files without a row go; the rows whose file is missing are answered. A file has its row first, so the files are read first. */
  async sweep(readRows: () => readonly PlacedBackup[]): Promise<PlacedBackup[]> {
    const names = await readdir(this.#data);
    const rows = readRows();
    const wanted = new Set(rows.map(({ kind, id }) => `${kind}-${id}`));
    for (const name of names) {
      if (/^(instance|volume)-\d+$/.test(name) && !wanted.has(name)) await rm(join(this.#data, name), { force: true });
    }
    return rows.filter(({ kind, id }) => !names.includes(`${kind}-${id}`));
  }

  /** Makes the links what the rows say; calls follow each other. */
  link(rows: () => readonly PlacedBackup[]): Promise<void> {
    this.#linking = this.#linking.catch(() => {}).then(() => this.#link(rows()));
    return this.#linking;
  }

  async #link(rows: readonly PlacedBackup[]): Promise<void> {
    const wanted = new Map<string, string>();
    for (const { kind, id, project, owner, pool, name } of rows) {
      const directory = kind === 'instance' ? instanceBackupsPath(project, owner) : volumeBackupsPath(pool, project, owner);
      const path = join(this.directory, directory, name);
      wanted.set(path, relative(dirname(path), this.path(kind, id)));
    }
    for (const top of ['instances', 'custom']) await this.#prune(join(this.directory, top), wanted);
    for (const [path, target] of wanted) {
      if ((await readlink(path).catch(() => undefined)) === target) continue;
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await symlink(target, path);
    }
  }

  /** Only links are ours; directories go when nothing is left in them. */
  async #prune(directory: string, wanted: ReadonlyMap<string, string>): Promise<void> {
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name);
      const about = await lstat(path);
      if (about.isDirectory()) {
        await this.#prune(path, wanted);
        await rmdir(path).catch(() => {});
      } else if (about.isSymbolicLink() && wanted.get(path) !== (await readlink(path))) {
        await rm(path);
      }
    }
  }

  get #data(): string {
    return join(this.directory, 'data');
  }
}
