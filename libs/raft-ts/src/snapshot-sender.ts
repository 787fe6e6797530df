/**
 * Snapshots at the leader: in chunks, some of them under way at once, one transfer per peer. The first chunk goes alone, because its answer
 * tells how much of this very snapshot (index and hash) the peer has already. While a transfer runs the log behind the snapshot is pinned.
 */
import type { Core } from './core.js';
import type { Progress } from './progress.js';
import type { Message, SnapshotMeta } from './types.js';

export interface SnapshotTransfer {
  readonly meta: SnapshotMeta;
  /** Acknowledged by the peer. */
  received: number;
  /** Sent; above `received` what is under way. */
  sent: number;
  /** The peer has answered at least once. */
  begun: boolean;
  progressMs: number;
  sentMs: number | undefined;
}

type Ack = Extract<Message, { type: 'snapshot-ack' }>;

/** Sends what may be sent; begins a transfer if there is none. */
export function pumpSnapshot(core: Core, peer: Progress): void {
  const transfer = (peer.transfer ??= begin(core, peer));
  if (!transfer) return;
  const { meta } = transfer;
  const { chunkBytes, chunksInflight } = core.limits;
  const quiet = transfer.sentMs === undefined || core.nowMs - transfer.sentMs >= core.timers.resendMs;

  const sendFrom = (offset: number): boolean => {
    const data = core.snapshots!.read(meta, offset, chunkBytes);
    if (!data || (data.length === 0 && meta.sizeBytes > 0)) {
      peer.transfer = undefined; // The snapshot is gone: the next pump begins with another.
      return false;
    }
    core.send(peer.id, { type: 'snapshot-chunk', meta, offset, data });
    transfer.sent = offset + data.length;
    transfer.sentMs = core.nowMs;
    return true;
  };

  if (!transfer.begun) {
    if (quiet) sendFrom(0);
  } else if (transfer.received === meta.sizeBytes) {
    // All is there, and being checked or installed. Should the answer be lost, the last chunk brings another.
    if (quiet) sendFrom(Math.max(0, meta.sizeBytes - chunkBytes));
  } else {
    if (quiet) transfer.sent = transfer.received;
    while (transfer.sent < meta.sizeBytes && transfer.sent - transfer.received < chunkBytes * chunksInflight) if (!sendFrom(transfer.sent)) return;
  }
}

/** The peer started again: ask anew what it has. */
export function restartTransfer(peer: Progress): void {
  if (!peer.transfer) return;
  peer.transfer.begun = false;
  peer.transfer.sentMs = undefined;
}

/** True if the transfer is over, for good or ill. */
export function onSnapshotAck(core: Core, peer: Progress, ack: Ack): boolean {
  const { transfer } = peer;
  if (!transfer || ack.index !== transfer.meta.index || ack.hash !== transfer.meta.hash) return false;
  if (ack.status === 'more') {
    if (ack.receivedBytes !== transfer.received || !transfer.begun) transfer.progressMs = core.nowMs;
    // Less than before: the peer has started anew. More than was sent: it had a part already.
    if (ack.receivedBytes < transfer.received || ack.receivedBytes > transfer.sent) transfer.sent = ack.receivedBytes;
    transfer.received = ack.receivedBytes;
    transfer.begun = true;
    return false;
  }
  peer.transfer = undefined;
  return true;
}

/** True if the transfer made no progress for too long and was given up. */
export function snapshotStalled(core: Core, peer: Progress): boolean {
  if (!peer.transfer || core.nowMs - peer.transfer.progressMs < core.timers.snapshotStallMs) return false;
  peer.transfer = undefined;
  return true;
}

function begin(core: Core, peer: Progress): SnapshotTransfer | undefined {
  // A peer that was silent lately would only hold the log.
  if (peer.heardMs === undefined || core.nowMs - peer.heardMs > core.timers.quorumMs) return undefined;
  const needed = Math.max(core.log.firstIndex - 1, peer.requestedSnapshot ?? 0);
  const meta = core.snapshots?.latest();
  if (!meta || meta.index < needed) {
    core.snapshotWanted = Math.max(core.snapshotWanted ?? 0, needed);
    return undefined;
  }
  return { meta, received: 0, sent: 0, begun: false, progressMs: core.nowMs, sentMs: undefined };
}
