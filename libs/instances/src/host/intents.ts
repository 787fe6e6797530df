import type { LocalStore } from '#replica';

/** Work of several steps on an instance. Written down before its first step; what is still there at the next start was cut off. */
export type InstanceIntent =
  /** Until it is whole: rows and bytes go. Its UUID tells it from another of the same name. */
  | { kind: 'create'; project: string; name: string; uuid: string }
  /** Once begun it is finished. */
  | { kind: 'delete'; id: number }
  /** The row says which name is right. */
  | { kind: 'rename'; id: number; name: string; newName: string }
  /** Row and bytes of a snapshot that is not whole go. */
  | { kind: 'snapshot'; id: number; snapshot: string }
  /** The row says which name is right. */
  | { kind: 'rename-snapshot'; id: number; name: string; newName: string }
  | { kind: 'delete-snapshot'; id: number; snapshot: string }
  | { kind: 'restore'; id: number; snapshot: string };

export class InstanceIntents {
  readonly #old: ReadonlySet<number>;

  constructor(private readonly local: LocalStore) {
    local.migrate('instances', ['CREATE TABLE instance_intents (number INTEGER PRIMARY KEY, intent TEXT NOT NULL)']);
    this.#old = new Set(local.all<{ number: number }>('SELECT number FROM instance_intents').map(({ number }) => number));
  }

  /** Work under its intent, which goes when the work succeeded, or failed and cleaned up after itself. */
  async during<T>(intent: InstanceIntent, work: () => Promise<T>): Promise<T> {
    const number = this.begin(intent);
    try {
      return await work();
    } finally {
      this.settle(number);
    }
  }

  begin(intent: InstanceIntent): number {
    this.local.run('INSERT INTO instance_intents (intent) VALUES (?)', JSON.stringify(intent));
    return this.local.get<{ number: number }>('SELECT last_insert_rowid() AS number')!.number;
  }

  settle(number: number): void {
    this.local.run('DELETE FROM instance_intents WHERE number = ?', number);
  }

  /** What an earlier process left, oldest first. */
  unfinished(): { number: number; intent: InstanceIntent }[] {
    return this.local
      .all<{ number: number; intent: string }>('SELECT number, intent FROM instance_intents ORDER BY number')
      .filter(({ number }) => this.#old.has(number))
      .map(({ number, intent }) => ({ number, intent: JSON.parse(intent) as InstanceIntent }));
  }
}
