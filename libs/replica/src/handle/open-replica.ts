import { type Logger, silent } from '#kit';
import { lockStateDir } from '../lock.js';
import type { MemberReplica } from '../ports.js';
import type { StateWing } from '../state/command.js';
import type { EngineNetwork } from '../transport/network.js';
import { ReplicaHandle } from './replica-handle.js';
import { EngineHome, readyWithin } from './engine-home.js';

export interface OpenReplicaOptions {
  readonly stateDir: string;
  /** The same that the worker's entry gives to the engine. */
  readonly wings: readonly StateWing[];
  /** The built entry file of the worker: `new URL('./engine-worker.js', import.meta.url)` from dist. */
  readonly worker: URL;
  /** As it was when this member last ran. */
  readonly network?: EngineNetwork;
  readonly leases?: boolean;
  readonly log?: Logger;
  /** Called as soon as the engine runs, before it is ready: its peers need a way to it. */
  readonly opened?: (replica: MemberReplica) => void;
  /** If the caller holds the directory already. It stays the caller's. */
  readonly lock?: Disposable;
  /** The worker ended by itself: log what you must, and end the process. By default the error is thrown out of the event loop. */
  readonly died?: (error: Error) => void;
}

/** A member that has peers does not wait longer for a majority of them: it comes up, and says what it cannot do meanwhile. */
const QUORUM_MS = 10_000;
const READY_MS = 600_000;

/**
 * Takes the state directory, starts the engine in its worker, and resolves when the replica has a leader and the schema of this build. A new
 * directory begins as member 1 of a cluster of its own.
 * @throws Fault unavailable if another process has the directory; the engine's own words if it cannot be opened
 */
export async function openReplica(options: OpenReplicaOptions): Promise<MemberReplica> {
  const { stateDir, wings, worker, network = { peers: [] }, leases = false, log = silent } = options;
  const lock = options.lock ? undefined : lockStateDir(stateDir);
  const died =
    options.died ??
    ((error: Error): void => {
      setImmediate(() => {
        throw error;
      });
    });
  let handle: ReplicaHandle | undefined;
  try {
    const home = new EngineHome({ stateDir, worker, leases, log, died });
    const engine = await home.open({ member: 1 }, network, (applied) => handle?.applied(applied));
    handle = new ReplicaHandle(engine, home, wings, lock);
    options.opened?.(handle);
    const alone = network.peers.length < 2;
    await readyWithin(engine, alone ? READY_MS : QUORUM_MS).catch((error: unknown) => {
      if (alone) throw error;
      log.error({}, 'no majority of the members is there: only what is local works');
    });
    return handle;
  } catch (error) {
    await handle?.close();
    if (!handle) lock?.[Symbol.dispose]();
    throw error;
  }
}
