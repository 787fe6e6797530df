import { AsyncLocalStorage } from 'node:async_hooks';

/** A statement came from a promise that outlived its handler (a `save` that nobody awaited). It was not executed. */
export class FloatingStatement extends Error {
  constructor(readonly owner: string) {
    super(`a statement of ${owner} came after it had ended: some promise in it was not awaited`);
    this.name = 'FloatingStatement';
  }
}

/** A handler typed BEGIN, COMMIT or the like: transactions on the capture connection belong to the engine. */
export class ForbiddenStatement extends Error {
  constructor(sql: string) {
    super(`a handler may not run: ${sql.slice(0, 80)}`);
    this.name = 'ForbiddenStatement';
  }
}

/** Who may run statements now: one command, or the engine itself between commands. */
export interface Turn {
  readonly owner: string;
  readonly engine: boolean;
  /** Set when a statement of this turn was refused because the turn had ended. */
  floated: boolean;
}

const TRANSACTION = /^\s*(?:BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b/i;
/** What TypeORM's runner says for a transaction nested in the command's. */
const NESTED = /^(?:SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) typeorm_\d+$/;

/**
 * The token of the capture connection. Every statement on it passes `check`: it is let through only if the asynchronous context that it comes
 * from is the turn that is open. So a promise that outlives its command can touch neither the next command nor the batch's rollback.
 */
export class Gate {
  readonly #context = new AsyncLocalStorage<Turn>();
  #open: Turn | undefined;

  /** The turn whose statements are being let through. */
  get open(): Turn | undefined {
    return this.#open;
  }

  /** Opens the gate for `turn` until `work` has settled. */
  async during<T>(turn: Turn, work: () => T | Promise<T>): Promise<T> {
    const outer = this.#open;
    this.#open = turn;
    try {
      return await this.#context.run(turn, work);
    } finally {
      this.#open = outer;
    }
  }

  /** @throws FloatingStatement, ForbiddenStatement */
  check(sql: string): void {
    const turn = this.#context.getStore();
    if (turn === undefined || turn !== this.#open) {
      if (turn) turn.floated = true;
      throw new FloatingStatement(turn?.owner ?? 'something outside of every command');
    }
    if (!turn.engine && TRANSACTION.test(sql) && !NESTED.test(sql)) throw new ForbiddenStatement(sql);
  }
}
