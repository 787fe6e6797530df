/**
 * A leader's lease (thesis §6.4.1): a majority that answered a round promised, after the round was sent, to vote for nobody for a while. So
 * until `leaseMs` after the *sending* nobody else can lead, and reads need no round. It rests on clocks running at about the same speed;
 * whatever casts doubt on this clock drops it.
 */
import type { Core } from './core.js';

export class Lease {
  private begunMs: number | undefined;
  /** Rounds up to this one were sent before the clock stumbled. */
  private worthlessUpTo = 0;
  private timeoutNowSent = false;

  constructor(private readonly core: Core) {}

  /** A quorum answered a round. */
  roundAnswered(round: number, sentMs: number): void {
    if (round <= this.worthlessUpTo) return;
    this.begunMs = this.core.rules.leaseBegins(sentMs, this.core.nowMs);
  }

  /** The clock stumbled while `round` was the last one sent. */
  drop(round: number): void {
    this.begunMs = undefined;
    this.worthlessUpTo = round;
  }

  handedOver(): void {
    this.timeoutNowSent = true;
  }

  get untilMs(): number | undefined {
    const { core } = this;
    if (this.begunMs === undefined || !core.rules.leaseAfterTimeoutNow(this.timeoutNowSent)) return undefined;
    return this.begunMs + core.timers.leaseMs;
  }

  /** Valid at the moment of the call, which must come after the request. */
  get valid(): boolean {
    const { core } = this;
    if (!core.leases || this.untilMs === undefined) return false;
    if (!core.rules.clockIsSteady(core.nowMs - core.lastTickMs, core.timers.tickGapMs, 0, core.timers.clockJumpMs)) return false;
    return core.rules.leaseClock(core.nowMs, core.lastTickMs) < this.untilMs;
  }
}
