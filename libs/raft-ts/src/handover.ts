/**
 * How a leader leaves. In good order: the successor is brought up to date, then told to stand for election at once (thesis §3.10), and proposals
 * are refused meanwhile. Or at once, when it may not lead any more.
 */
import type { Core } from './core.js';
import type { Lease } from './lease.js';
import type { Progress } from './progress.js';
import type { MemberId } from './types.js';

export class HandOver {
  private transfer: { readonly to: MemberId; readonly untilMs: number; sent: boolean } | undefined;
  private slowWrites: number[] = [];

  constructor(
    private readonly core: Core,
    private readonly peers: ReadonlyMap<MemberId, Progress>,
    private readonly lease: Lease,
  ) {}

  /** To whom office is being handed over. */
  get to(): MemberId | undefined {
    return this.transfer?.to;
  }

  /** Begins, to `to` or the best. False if there is nobody. */
  begin(to: MemberId | undefined = this.best()): boolean {
    const { core } = this;
    if (to === undefined || to === core.id || !core.configurations.inForce.voters.includes(to)) return false;
    if (this.transfer?.to === to) return true;
    this.transfer = { to, untilMs: core.nowMs + core.timers.transferMs, sent: false };
    this.continue();
    return true;
  }

  /** The successor may have caught up. */
  continue(): void {
    const { transfer } = this;
    if (!transfer || transfer.sent || this.peers.get(transfer.to)?.match !== this.core.log.lastIndex) return;
    transfer.sent = true;
    this.sendTimeoutNow(transfer.to);
  }

  /** It took too long: this member goes on leading. */
  expire(): void {
    if (this.transfer && this.core.nowMs >= this.transfer.untilMs) this.transfer = undefined;
  }

  configurationChanged(): void {
    if (this.transfer && !this.core.configurations.inForce.voters.includes(this.transfer.to)) this.transfer = undefined;
  }

  /** Leaves office at once, for the best successor there is. */
  resign(): void {
    const { core } = this;
    const to = this.best();
    if (to !== undefined) this.sendTimeoutNow(to);
    core.follow(core.term, undefined);
  }

  /** A leader with a slow disk makes everybody wait; one slow write may happen to anyone. */
  logWriteTook(durationMs: number): void {
    const { nowMs, timers } = this.core;
    if (durationMs < timers.slowLogMs) return;
    this.slowWrites = this.slowWrites.filter((at) => nowMs - at < timers.slowLogWindowMs);
    this.slowWrites.push(nowMs);
    if (this.slowWrites.length < timers.slowLogTimes) return;
    this.slowWrites = [];
    this.begin();
  }

  private sendTimeoutNow(to: MemberId): void {
    this.lease.handedOver();
    this.core.send(to, { type: 'timeout-now' });
  }

  /** The voter that was heard lately and has most of the log. */
  private best(): MemberId | undefined {
    const { core } = this;
    let best: Progress | undefined;
    for (const id of core.configurations.inForce.voters) {
      const peer = this.peers.get(id);
      if (!peer || peer.heardMs === undefined || core.nowMs - peer.heardMs > core.timers.promiseMs) continue;
      if (!best || peer.match > best.match) best = peer;
    }
    return best?.id;
  }
}
