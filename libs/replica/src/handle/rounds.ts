/**
 * One question asked for many: whoever comes before a round is sent shares it; whoever comes later waits for the next, which is sent when the
 * one under way is back. So a thousand waiting requests cost one message each way.
 */
export class Rounds {
  #underway = false;
  #waiting: PromiseWithResolvers<void> | undefined;

  constructor(private readonly ask: () => Promise<unknown>) {}

  wait(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>();
    const { promise } = this.#waiting;
    if (!this.#underway) this.#send();
    return promise;
  }

  #send(): void {
    this.#underway = true;
    // A microtask later: calls made in the same turn are in this round.
    queueMicrotask(() => {
      const round = this.#waiting;
      this.#waiting = undefined;
      if (!round) {
        this.#underway = false;
        return;
      }
      this.ask()
        .then(() => round.resolve(), round.reject)
        .finally(() => {
          if (this.#waiting) this.#send();
          else this.#underway = false;
        });
    });
  }
}
