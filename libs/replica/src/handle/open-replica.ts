import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Logger, silent } from '#kit';
import { lockStateDir } from '../lock.js';
import type { Replica } from '../ports.js';
import type { StateWing } from '../state/command.js';
import { ReplicaHandle } from './replica-handle.js';
import { WorkerClient } from './worker-client.js';

export interface OpenReplicaOptions {
  readonly stateDir: string;
  /** The same that the worker's entry gives to the engine. */
  readonly wings: readonly StateWing[];
  /** The built entry file of the worker: `new URL('./engine-worker.js', import.meta.url)` from dist. */
  readonly worker: URL;
  /** 1 for the member that begins a cluster. */
  readonly memberId: number;
  /** False for a member that waits to be taken into a cluster. True by default, and without meaning once the log exists. */
  readonly founder?: boolean;
  readonly leases?: boolean;
  readonly log?: Logger;
  /** If the caller holds the directory already. It stays the caller's. */
  readonly lock?: Disposable;
  /** The worker ended by itself: log what you must, and end the process. By default the error is thrown out of the event loop. */
  readonly died?: (error: Error) => void;
}

/**
 * Takes the state directory, starts the engine in its worker, and resolves when the replica has a leader and the schema of this build.
 * @throws Fault unavailable if another process has the directory; the engine's own words if it cannot be opened
 */
export async function openReplica(options: OpenReplicaOptions): Promise<Replica> {
  const { stateDir, wings, worker, memberId, founder = true, leases = false, log = silent } = options;
  const lock = options.lock ? undefined : lockStateDir(stateDir);
  const directory = join(stateDir, 'database');
  const identity = { cluster: randomBytes(16).toString('hex'), member: memberId, incarnation: 0, ...(founder ? { founders: [memberId] } : {}) };
  const died =
    options.died ??
    ((error: Error): void => {
      setImmediate(() => {
        throw error;
      });
    });
  let handle: ReplicaHandle | undefined;
  let client: WorkerClient | undefined;
  try {
    client = await WorkerClient.start(worker, { directory, identity, leases, logLevel: 'info' }, (applied) => handle?.applied(applied), log, died);
    const reader = new DatabaseSync(join(directory, 'replica.db'), { readOnly: true, timeout: 5000 });
    handle = new ReplicaHandle(client, reader, wings, lock);
    await client.call('ready');
    return handle;
  } catch (error) {
    await client?.close();
    lock?.[Symbol.dispose]();
    throw error;
  }
}
