import type { WebSocket } from 'ws';
import type { Operation, OperationClass } from '#api-contract';
import type { CallContext, Upgrade } from '#members';
import type { Identity } from '#replica/state';
import type { OperationRecord } from './operation-history.js';

/** A running operation, as the work that it stands for sees it. */
export interface RunningOperation {
  readonly id: string;
  /** Aborted by DELETE (if `mayCancel`) or by shutdown. */
  readonly signal: AbortSignal;
  /** Merges into metadata and tells the listeners; calls within 100 ms are told once. */
  update(metadata: Record<string, unknown>): void;
  /** `progress('download', 'rootfs: 45% (12.3MB/s)')`: LXD's `<stage>_progress` key. */
  progress(stage: string, text: string): void;
  /** The resources as they are now (a rename changes them). */
  setResources(resources: Record<string, string[]>): void;
}

export interface OperationRequest {
  description: string;
  class?: OperationClass;
  /** '' for what belongs to the server as a whole (trust and join tokens): only unrestricted callers see it. */
  project: string;
  /** Kind → URLs: `{ instances: ['/1.0/instances/c1'] }`; `containers` is added for clients that look there. */
  resources?: Record<string, string[]>;
  metadata?: Record<string, unknown>;
  context: CallContext;
  mayCancel?: boolean;
  /** The work. What it returns is merged into metadata; what it throws becomes `err` by its public sentence. Absent for tokens. */
  run?: (operation: RunningOperation) => Promise<Record<string, unknown> | void>;
  /**
   * For class websocket: called for each socket whose secret fits, by its name in `fds` ('0', 'control' …). Each is taken once.
   * `secrets` maps name → 64 hex digits and is what the caller put in `metadata`.
   */
  sockets?: { secrets: Record<string, string>; connect: (name: string, socket: WebSocket) => void };
  /** For tokens: when it ends by itself. */
  expiresAt?: Date;
}

/** The operations of this member: running ones in memory, finished ones in local.db as history. */
export interface Operations {
  /** Registers and starts; returns the document for the 202. The final event always comes, in order, with the whole document. */
  start(request: OperationRequest): Operation;
  get(id: string): Operation | undefined;
  /** The same with its project, for who must know whether a caller may see it. */
  find(id: string): OperationRecord | undefined;
  /** Running ones and those that ended within 5 s, as LXD; with `history` all that is kept, newest first. Undefined project: of all. */
  list(options: { project?: string; history?: boolean }): Operation[];
  /** The same with their projects; of several projects, '' meaning none. History at most `limit`. */
  records(options: { projects?: readonly string[]; history?: boolean; limit?: number }): OperationRecord[];
  /** Resolves with the document when final, when `timeoutMs` is over, or when `signal` says that nobody waits any more. @throws Fault notFound */
  wait(id: string, timeoutMs?: number, signal?: AbortSignal): Promise<Operation>;
  /** Resolves once the work has been told; it may need time to come back. @throws Fault invalid "This operation can't be cancelled" */
  cancel(id: string, by?: Identity): Promise<void>;
  /** Live tokens, for checking a secret in constant time by the caller. */
  tokens(): Operation[];
  /** Hands a client's websocket to its operation. @throws Fault forbidden for a wrong or used secret */
  connect(id: string, secret: string, upgrade: Upgrade): void;
  /** For periodic work: history that is too old goes. */
  pruneHistory(): void;
  /** Takes no new ones, cancels what can be, waits for the rest until `timeoutMs`, and then aborts it. */
  shutdown(timeoutMs: number): Promise<void>;
}
