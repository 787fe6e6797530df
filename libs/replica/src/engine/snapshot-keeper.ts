import { fault, type Logger } from '#kit';
import type { RaftNode, SnapshotChunk, SnapshotInstall } from '#raft-ts';
import { NoSpace } from '../disk/disk.js';
import type { Batch, Log } from '../log/log.js';
import type { Applier } from './applier.js';
import type { History } from './history.js';
import type { Mutex } from './mutex.js';
import type { Snapshots } from './snapshots.js';
import type { SqliteStateMachine } from './sqlite-state-machine.js';

export interface SnapshotKeeperParts {
  readonly node: RaftNode;
  readonly log: Log;
  readonly machine: SqliteStateMachine;
  readonly history: History;
  readonly snapshots: Snapshots;
  readonly applier: Applier;
  readonly mutex: Mutex;
  readonly logger: Logger;
  /** The rows are other ones now, up to this index. */
  readonly installed: (index: number) => void;
  readonly fatal: (error: unknown) => void;
}

/** Takes snapshots when somebody wants one, and installs those that come in; both wait for the mutex with nothing in flight. */
export class SnapshotKeeper {
  #wanted = false;
  #due: SnapshotInstall | undefined;
  #closed = false;
  /** Who wants the mutex. */
  #waiting: (() => void)[] = [];

  constructor(private readonly parts: SnapshotKeeperParts) {}

  /** A peer needs one; it is taken when there is time. */
  want(): void {
    this.#wanted = true;
    this.free();
  }

  /** A piece that came in. With the last one the file is whole, checked and durable: step 1 of an install. */
  chunk(chunk: SnapshotChunk): void {
    const { snapshots, node } = this.parts;
    snapshots.receive(chunk);
    if (chunk.last) node.snapshotReceived(chunk.meta, snapshots.complete(chunk.meta));
  }

  /** Step 2: what the log writes together with the hard state of the same Ready. */
  markerBatch({ meta, replaces }: SnapshotInstall): Batch {
    const { index, term, configuration, hash } = meta;
    const marker = { file: this.parts.snapshots.fileOf(meta), index, term, configuration, hash };
    return replaces === 'everything' ? { marker, reset: { index, term } } : { marker };
  }

  /** Step 2 is durable: steps 3 and 4 follow as soon as they may. */
  installDue(install: SnapshotInstall): void {
    this.#due = install;
    this.free();
  }

  /** The mutex is free, or nothing is in flight any more: what waited for that. */
  free(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
    const { applier, logger, fatal } = this.parts;
    if (this.#due) this.#install(this.#due).catch(fatal);
    else if (this.#wanted && applier.idle) this.take().catch((error: unknown) => logger.error({ err: error }, 'could not take a snapshot'));
  }

  async take(): Promise<void> {
    const { applier, mutex, snapshots, log } = this.parts;
    for (;;) {
      const taking = applier.idle ? mutex.tryHold(() => snapshots.take()) : undefined;
      if (taking) {
        this.#wanted = false;
        await taking;
        snapshots.tidy(log.state.marker?.file);
        return;
      }
      if (this.#closed) throw fault.unavailable('The server is shutting down');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  close(): void {
    this.#closed = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Steps 3 and 4. A crash in between finds the marker at the next start. */
  async #install({ meta }: SnapshotInstall): Promise<void> {
    const { snapshots, machine, node, history, applier, mutex } = this.parts;
    const file = snapshots.fileOf(meta);
    applier.overtaken(meta.index);
    if (machine.standing().index < meta.index) {
      const installing = mutex.tryHold(async () => {
        this.#due = undefined;
        await snapshots.install(file);
        machine.forget();
        machine.makeDurable();
      });
      if (!installing) return;
      await installing;
      applier.heal();
      history.skipTo(meta.index);
    }
    this.#due = undefined;
    this.#clearMarker(file);
    node.applied(machine.standing().index);
    this.parts.installed(meta.index);
  }

  #clearMarker(file: string): void {
    try {
      this.parts.log.append({ marker: null });
      this.parts.snapshots.remove(file);
    } catch (error) {
      if (!(error instanceof NoSpace)) throw error;
      // It stays until the next start, which finds the replica at its index and clears it.
      this.parts.logger.warn({ file }, 'no space left to note that a snapshot is installed');
    }
  }
}
