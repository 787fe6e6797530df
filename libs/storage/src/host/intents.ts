import type { LocalStore } from '#replica';
import type { VolumeRef } from '../model/index.js';

/** Multi-step work on this member's disks. Written down before its first step; at the next start what is still there was cut off. */
export type Intent =
  | { kind: 'create-volume'; volume: VolumeRef }
  /** `row`: the volume row is ours as well (a custom volume), and goes with the bytes. */
  | { kind: 'create-custom'; volume: VolumeRef }
  | { kind: 'remove-volume'; volume: VolumeRef }
  | { kind: 'rename-volume'; volume: VolumeRef; newName: string }
  | { kind: 'restore'; volume: VolumeRef; snapshot: string }
  /** Ids on disk, from one map to another, as JSON of volatile.idmap.last. */
  | { kind: 'remap'; volume: VolumeRef; to: string }
  /** Half-made while it stands. */
  | { kind: 'snapshot'; volume: VolumeRef; snapshot: string }
  /** Of a custom volume: stands until its row is written. */
  | { kind: 'custom-snapshot'; volume: VolumeRef; snapshot: string }
  /** Once its row is gone, the bytes go; until then nothing has happened. */
  | { kind: 'remove-custom'; volume: VolumeRef }
  /** `made`: the driver has made it, so that all it holds is ours to remove. */
  | { kind: 'create-pool'; pool: string; made: boolean }
  /** One member's part of a pool of the cluster: its rows stay whatever comes of it. */
  | { kind: 'make-pool'; pool: string; made: boolean }
  | { kind: 'remove-pool'; pool: string };

export class Intents {
  readonly #old: Set<number>;

  constructor(private readonly local: LocalStore) {
    local.migrate('storage', [`CREATE TABLE storage_intents (id INTEGER PRIMARY KEY, intent TEXT NOT NULL)`]);
    this.#old = new Set(this.local.all<{ id: number }>('SELECT id FROM storage_intents').map(({ id }) => id));
  }

  /** Work under its intent: taken away when the work succeeded or cleaned up after itself, which it does before it throws. */
  async during<T>(intent: Intent, work: (update: (changed: Intent) => void) => Promise<T>): Promise<T> {
    this.local.run('INSERT INTO storage_intents (intent) VALUES (?)', JSON.stringify(intent));
    const { id } = this.local.get<{ id: number }>('SELECT last_insert_rowid() AS id')!;
    try {
      return await work((changed) => this.local.run('UPDATE storage_intents SET intent = ? WHERE id = ?', JSON.stringify(changed), id));
    } finally {
      this.local.run('DELETE FROM storage_intents WHERE id = ?', id);
    }
  }

  /** What a crash of an earlier process left, oldest first. */
  unfinished(): { id: number; intent: Intent }[] {
    return this.local
      .all<{ id: number; intent: string }>('SELECT id, intent FROM storage_intents ORDER BY id')
      .filter(({ id }) => this.#old.has(id))
      .map(({ id, intent }) => ({ id, intent: JSON.parse(intent) as Intent }));
  }

  settle(id: number): void {
    this.local.run('DELETE FROM storage_intents WHERE id = ?', id);
    this.#old.delete(id);
  }
}
