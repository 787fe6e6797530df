import { faultPoint } from './fault-point.js';
import type { Logger } from './log.js';

/**
 * The way back of multi-step work. Each step that took effect registers how to take it back; a failure runs them in reverse order, a success
 * drops them:
 *
 *   await using undo = new Undo(log);
 *   await makeVolume(); undo.add('volume', () => removeVolume());
 *   …
 *   undo.drop();
 */
export class Undo implements AsyncDisposable {
  #steps: { what: string; back: () => unknown }[] = [];

  constructor(private readonly log: Logger) {}

  add(what: string, back: () => unknown): void {
    this.#steps.push({ what, back });
    faultPoint(`step: ${what}`);
  }

  /** The work succeeded: nothing will be undone. */
  drop(): void {
    this.#steps = [];
  }

  /** Runs what is registered, last first. A step that fails is logged, and the rest still run. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.back();
      } catch (error) {
        this.log.error({ err: error, step: step.what }, 'could not undo a step');
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run();
  }
}
