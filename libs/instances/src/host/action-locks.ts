import { fault } from '#kit';

export type LockedAction =
  | 'create'
  | 'start'
  | 'stop'
  | 'restart'
  | 'update'
  | 'rename'
  | 'delete'
  | 'snapshot'
  | 'restore'
  | 'copy'
  | 'move'
  | 'backup'
  | 'cleanup';

/** A held lock: what is done to an instance just now. */
export interface HeldAction extends Disposable {
  readonly action: LockedAction;
  /** Aborted when something that wins over it wants the instance. */
  readonly signal: AbortSignal;
}

interface Entry extends HeldAction {
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/** One action at a time on an instance. A second one is told what is under way; a forced stop takes over; all wait for the cleanup after an end. */
export class ActionLocks {
  readonly #held = new Map<number, Entry>();

  /** @throws Fault conflict: 'Instance is busy running a "start" operation' */
  async take(id: number, action: LockedAction): Promise<HeldAction> {
    for (let held = this.#held.get(id); held; held = this.#held.get(id)) {
      if (held.action !== 'cleanup') throw busy(held.action);
      await held.done;
    }
    return this.#hold(id, action);
  }

  /** Like take, for what has to be done as soon as nothing else is. */
  async takeWhenFree(id: number, action: LockedAction): Promise<HeldAction> {
    for (let held = this.#held.get(id); held; held = this.#held.get(id)) await held.done;
    return this.#hold(id, action);
  }

  /** Ends what is under way and then holds the lock. `interrupt` makes it end, if its signal does not. */
  async takeOver(id: number, action: LockedAction, interrupt: () => Promise<void>): Promise<HeldAction> {
    for (let held = this.#held.get(id); held; held = this.#held.get(id)) {
      if (!interruptible.has(held.action)) throw busy(held.action);
      held.abort.abort(fault.conflict(`Interrupted by a forced ${action}`));
      await interrupt();
      await held.done;
    }
    return this.#hold(id, action);
  }

  current(id: number): LockedAction | undefined {
    return this.#held.get(id)?.action;
  }

  #hold(id: number, action: LockedAction): Entry {
    const abort = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const entry: Entry = {
      action,
      abort,
      signal: abort.signal,
      done: promise,
      [Symbol.dispose]: () => {
        if (this.#held.get(id) === entry) this.#held.delete(id);
        resolve();
      },
    };
    this.#held.set(id, entry);
    return entry;
  }
}

/** What a forced stop may break off: nothing that has a disk half written. */
const interruptible: ReadonlySet<LockedAction> = new Set(['start', 'stop', 'restart', 'cleanup']);

const busy = (action: LockedAction): Error => fault.conflict(`Instance is busy running a "${action}" operation`, { status: 400 });
