import { fault } from '#kit';

const windowMs = 60_000;
const failuresMax = 10;
const addressesMax = 10_000;

/** Bounds how often one address may try a password or a token: ten failures a minute. */
export class Attempts {
  readonly #failures = new Map<string, number[]>();

  constructor(private readonly nowMs: () => number) {}

  /** Counts an attempt before it is looked at, so that many at once do not slip through. @throws Fault unavailable (429) when there were too many */
  begin(address: string): void {
    const now = this.nowMs();
    const recent = (this.#failures.get(address) ?? []).filter((at) => now - at < windowMs);
    if (recent.length >= failuresMax) {
      const retryAfterS = Math.ceil((windowMs - (now - recent[0]!)) / 1000);
      throw fault.unavailable('Too many attempts, try again later', { status: 429, retryAfterS });
    }
    recent.push(now);
    this.#failures.delete(address);
    this.#failures.set(address, recent);
    // The oldest address goes first: Map keeps the order of insertion.
    if (this.#failures.size > addressesMax) this.#failures.delete(this.#failures.keys().next().value!);
  }

  succeeded(address: string): void {
    this.#failures.delete(address);
  }
}
