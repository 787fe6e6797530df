/**
 * The engine's one mutex: a capture, a backup or an install that awaits holds it; apply and checkpoint are synchronous and only look whether it
 * is free. So the two connections are never in a transaction at once.
 */
export class Mutex {
  #held = false;

  /** @param released called each time it comes free: what had to wait goes on from there */
  constructor(private readonly released: () => void) {}

  get held(): boolean {
    return this.#held;
  }

  /** Undefined if it is held already: the caller tries again when it is released. */
  tryHold<T>(work: () => Promise<T>): Promise<T> | undefined {
    if (this.#held) return undefined;
    this.#held = true;
    return work().finally(() => {
      this.#held = false;
      this.released();
    });
  }
}
