import type { WebSocket } from 'ws';
import type { Operation, OperationClass } from '#api-contract';
import type { CallContext, Upgrade } from '#members';

/** A running operation, as the work that it stands for sees it. */
export interface RunningOperation {
  readonly id: string;
  /** Aborted by DELETE (if `mayCancel`), by shutdown, or by `timeout`. */
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
  list(options: { project?: string; history?: boolean }): Operation[];
  /** Resolves with the document when final or when `timeoutMs` is over. */
  wait(id: string, timeoutMs?: number): Promise<Operation>;
  /** @throws Fault invalid "This operation can't be cancelled" */
  cancel(id: string): Promise<void>;
  /** Live tokens of a kind, for checking a secret in constant time by the caller. */
  tokens(): Operation[];
  /** Hands a client's websocket to its operation. @throws Fault forbidden for a wrong or used secret */
  connect(id: string, secret: string, upgrade: Upgrade): void;
  /** Cancels what can be, waits for the rest until `timeoutMs`. */
  shutdown(timeoutMs: number): Promise<void>;
}
