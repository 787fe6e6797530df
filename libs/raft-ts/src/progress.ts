/**
 * What a leader knows of one peer's log, and how it sends to it.
 *
 * - `probing`: one append at a time, until an answer shows where the logs agree.
 * - `replicating`: appends follow each other without waiting, up to a number of bytes.
 * - `snapshot`: what the peer needs next is compacted away; nothing but a snapshot helps.
 */
import type { MemberId } from './types.js';
import type { SnapshotTransfer } from './snapshot-sender.js';

export class Progress {
  state: 'probing' | 'replicating' | 'snapshot' = 'probing';
  /** Durable at the peer and equal to the leader's log up to here. */
  match = 0;
  /** The highest match ever, which a start of the peer must still have. */
  held = 0;
  next: number;
  /** Highest commit index that was sent. */
  sentCommit = 0;
  inflightBytes = 0;
  private inflight: { readonly upTo: number; readonly bytes: number }[] = [];
  /** When something unanswered was last sent, while probing; when progress was last made, while replicating. */
  waitingSinceMs: number | undefined;
  heardMs: number | undefined;
  /** Highest round the peer answered. */
  round = 0;
  nextHeartbeatMs = 0;
  /** A read or submit waits there for this index: that commit is worth a message of its own, whatever the peer's role. */
  expects = 0;
  transfer: SnapshotTransfer | undefined;
  /** The peer asked for a snapshot of at least this index, for its state machine only. */
  requestedSnapshot: number | undefined;

  constructor(
    readonly id: MemberId,
    readonly incarnation: number,
    next: number,
  ) {
    this.next = next;
  }

  probe(next: number): void {
    this.state = 'probing';
    this.next = Math.max(next, this.match + 1);
    this.clearInflight();
    this.waitingSinceMs = undefined;
    this.sentCommit = 0;
  }

  /** Nothing is known any more of what the peer has. */
  forget(next: number): void {
    this.match = 0;
    this.probe(next);
  }

  replicate(): void {
    this.state = 'replicating';
    this.next = this.match + 1;
    this.clearInflight();
    this.waitingSinceMs = undefined;
  }

  needsSnapshot(): void {
    this.state = 'snapshot';
    this.clearInflight();
    this.waitingSinceMs = undefined;
  }

  sent(upTo: number, bytes: number, nowMs: number): void {
    this.next = upTo + 1;
    this.inflight.push({ upTo, bytes });
    this.inflightBytes += bytes;
    this.waitingSinceMs ??= nowMs;
  }

  /** The peer has everything up to `index`. False if that is no news. */
  acknowledged(index: number, nowMs: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.held = Math.max(this.held, index);
    this.next = Math.max(this.next, index + 1);
    let done = 0;
    while (done < this.inflight.length && this.inflight[done]!.upTo <= index) this.inflightBytes -= this.inflight[done++]!.bytes;
    if (done > 0) this.inflight.splice(0, done);
    this.waitingSinceMs = this.inflight.length > 0 ? nowMs : undefined;
    return true;
  }

  private clearInflight(): void {
    this.inflight = [];
    this.inflightBytes = 0;
  }
}
