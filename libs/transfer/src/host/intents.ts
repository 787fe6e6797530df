import type { LocalStore } from '#replica';
import type { VolumeRef } from '#storage/host';

/** Work of several steps that only this subject knows. Written down before its first step; at the next start what is still there was cut off. */
export type TransferIntent =
  /** A volume that no row has: it goes. */
  | { kind: 'temporary'; volume: VolumeRef }
  /** A custom volume that is being received: row and bytes go. */
  | { kind: 'receive-volume'; volume: VolumeRef }
  /** The rows say which of the two is the instance's; the other's bytes go. */
  | { kind: 'move'; from: VolumeRef; to: VolumeRef }
  /** A snapshot that a refresh brings: without its row its bytes go. */
  | { kind: 'snapshot'; volume: VolumeRef; snapshot: string };

export class TransferIntents {
  readonly #old: ReadonlySet<number>;

  constructor(private readonly local: LocalStore) {
    local.migrate('transfer', ['CREATE TABLE transfer_intents (number INTEGER PRIMARY KEY, intent TEXT NOT NULL)']);
    this.#old = new Set(local.all<{ number: number }>('SELECT number FROM transfer_intents').map(({ number }) => number));
  }

  /** Work under its intent, which goes when the work succeeded, or failed and cleaned up after itself. */
  async during<T>(intent: TransferIntent, work: () => Promise<T>): Promise<T> {
    const number = this.begin(intent);
    try {
      return await work();
    } finally {
      this.settle(number);
    }
  }

  begin(intent: TransferIntent): number {
    this.local.run('INSERT INTO transfer_intents (intent) VALUES (?)', JSON.stringify(intent));
    return this.local.get<{ number: number }>('SELECT last_insert_rowid() AS number')!.number;
  }

  settle(number: number): void {
    this.local.run('DELETE FROM transfer_intents WHERE number = ?', number);
  }

  /** What an earlier process left, oldest first. */
  unfinished(): { number: number; intent: TransferIntent }[] {
    return this.local
      .all<{ number: number; intent: string }>('SELECT number, intent FROM transfer_intents ORDER BY number')
      .filter(({ number }) => this.#old.has(number))
      .map(({ number, intent }) => ({ number, intent: JSON.parse(intent) as TransferIntent }));
  }
}
