import type { World } from './world.js';

/**
 * The clocks of one machine: a monotonic one that may run a little fast or slow and, in a machine that is put to sleep, stand still; and a
 * wall clock that goes on while it sleeps, and jumps.
 */
export class HostClock {
  private sinceTrueMs: number;
  private atMs: number;
  private rate = 1;
  private frozen = false;
  /** Wall clock minus true time. */
  private realOffsetMs = 0;

  constructor(
    private readonly world: World,
    startMs: number,
  ) {
    this.sinceTrueMs = world.nowMs;
    this.atMs = startMs;
  }

  /** Monotonic, milliseconds. */
  get nowMs(): number {
    return this.frozen ? this.atMs : this.atMs + (this.world.nowMs - this.sinceTrueMs) * this.rate;
  }

  /** Milliseconds since 1970. */
  get realMs(): number {
    return 1_700_000_000_000 + this.world.nowMs + this.realOffsetMs;
  }

  /** How long `ms` of this clock are in truth. */
  trueMs(ms: number): number {
    return ms / this.rate;
  }

  run(rate: number): void {
    this.settle();
    this.rate = rate;
  }

  jump(ms: number): void {
    this.realOffsetMs += ms;
  }

  standStill(): void {
    this.settle();
    this.frozen = true;
  }

  goOn(): void {
    this.settle();
    this.frozen = false;
  }

  private settle(): void {
    this.atMs = this.nowMs;
    this.sinceTrueMs = this.world.nowMs;
  }
}
