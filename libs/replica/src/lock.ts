import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fault } from '#kit';

/**
 * Takes the state directory for this process, for life: two processes on one directory would vote twice in one term. It is an exclusive lock of
 * SQLite on a file of its own, so the kernel gives it back whatever way the process ends; nothing else may ever open that file.
 * @throws Fault unavailable that names the process which has it
 */
export function lockStateDir(directory: string): Disposable {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const pidFile = join(directory, 'lock.pid');
  const db = new DatabaseSync(join(directory, 'lock'), { timeout: 0 });
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    throw fault.unavailable(`The state directory is in use by process ${ownerOf(pidFile)}`, { cause: error });
  }
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  return { [Symbol.dispose]: () => void (db.isOpen && db.close()) };
}

function ownerOf(pidFile: string): string {
  try {
    return readFileSync(pidFile, 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
