/**
 * Runs code that was written for Node's event loop on virtual time: while a loop is taken over, setImmediate and setTimeout of what runs are
 * events of the world, so that their order is by seed. Promises are left alone: they run to their end after each event. Work on Node's thread pool
 * (a backup) is waited for while the world stands still.
 */
import type { Event, World } from './world.js';

/** One process. Ended, nothing of it runs any more. */
export class Process {
  ended = false;
  private readonly timers = new Set<Event>();

  constructor(
    private readonly loop: Loop,
    private readonly world: World,
  ) {}

  /** `work` happens then, unless the process has ended. */
  at(timeMs: number, work: () => void): void {
    const timer = this.world.at(timeMs, () => {
      this.timers.delete(timer);
      this.run(work);
    });
    this.timers.add(timer);
  }

  run(work: () => void): void {
    if (this.ended) return;
    this.loop.current = this;
    work();
  }

  end(): void {
    this.ended = true;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }
}

export class Loop {
  current: Process | undefined;
  private readonly outside = { setImmediate: globalThis.setImmediate, setTimeout: globalThis.setTimeout };
  private busy = 0;

  constructor(private readonly world: World) {}

  takeOver(): Disposable {
    const { outside, world } = this;
    const later = (delayMs: number, work: () => void): unknown => {
      const process = this.current;
      if (!process) return outside.setImmediate(work);
      process.at(world.nowMs + delayMs, work);
      return { unref: () => {}, ref: () => {} };
    };
    globalThis.setImmediate = ((work: (...given: unknown[]) => void, ...given: unknown[]) => later(0, () => work(...given))) as typeof setImmediate;
    // Work that the world waits for, and that waits itself before it tries again, must not wait for the world.
    globalThis.setTimeout = ((work: (...given: unknown[]) => void, delayMs?: number, ...given: unknown[]) =>
      this.busy > 0 ? outside.setTimeout(work, delayMs, ...given) : later(delayMs ?? 0, () => work(...given))) as typeof setTimeout;
    return { [Symbol.dispose]: () => void Object.assign(globalThis, outside) };
  }

  /** Until that is done the world stands still. */
  async outsideWork<T>(work: () => Promise<T>): Promise<T> {
    this.busy++;
    try {
      return await work();
    } finally {
      this.busy--;
    }
  }

  /** Lets promises run to their end. */
  async settle(): Promise<void> {
    do await new Promise<void>((resolve) => this.outside.setImmediate(resolve));
    while (this.busy > 0);
    this.current = undefined;
  }
}
