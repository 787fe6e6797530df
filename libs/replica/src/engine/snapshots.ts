import type { Configuration, SnapshotChunk, SnapshotMeta, SnapshotSource } from '#raft-ts';

/** What stands at the head of a snapshot, from the same read transaction as its rows. */
export interface SnapshotHeader {
  readonly format: 1;
  readonly schema: number;
  readonly pageSize: number;
  readonly featureLevel: number;
  readonly index: number;
  readonly term: number;
  /** As applied. */
  readonly configuration: Configuration;
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Snapshots of one member: those it makes, and those it gets. The engine holds its mutex during `take` and `install`, with no transaction open. */
export interface Snapshots extends SnapshotSource {
  take(): Promise<SnapshotHeader>;
  /** A piece that came in. Durable only when `complete` says so. */
  receive(chunk: SnapshotChunk): void;
  /** Step 1: whether the file is whole and right; then it and its directory are durable. */
  complete(meta: SnapshotMeta): boolean;
  /** What the log's marker calls it. */
  fileOf(meta: SnapshotMeta): string;
  /** Step 3: into the live replica. Open readers finish on the old rows, and see the new ones next. */
  install(file: string): Promise<void>;
  /** Step 4: the marker is cleared. */
  remove(file: string): void;
  /** Parts of transfers that nobody will finish, snapshots that newer ones have replaced. */
  tidy(keep: string | undefined): void;
}
