import type { Logger } from '#kit';

/** What was started, to be stopped in reverse. Each step is timed: a slow start says what was slow. */
export class Steps {
  #stops: { name: string; stop: () => unknown }[] = [];

  constructor(private readonly log: Logger) {}

  /** `stop` is kept also when the start fails: it may have come half way. */
  async start(name: string, part: { start(): Promise<unknown> }, stop: () => unknown): Promise<void> {
    this.#stops.push({ name, stop });
    const beganMs = performance.now();
    await part.start();
    this.log.debug({ part: name, ms: Math.round(performance.now() - beganMs) }, 'started');
  }

  /** Nothing to start: it ends after all that is started later. */
  stopLast(name: string, stop: () => unknown): void {
    this.#stops.push({ name, stop });
  }

  /** One after the other, last first. What fails is logged, and the rest still stops. Once only. */
  async stop(): Promise<void> {
    for (let step = this.#stops.pop(); step; step = this.#stops.pop()) {
      const beganMs = performance.now();
      try {
        await step.stop();
        this.log.debug({ part: step.name, ms: Math.round(performance.now() - beganMs) }, 'stopped');
      } catch (error) {
        this.log.error({ err: error, part: step.name }, 'could not stop');
      }
    }
  }
}
