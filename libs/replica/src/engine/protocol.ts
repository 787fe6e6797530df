import type { Applied, ReplicaStatus } from '../ports.js';
import type { LogIdentity } from '../log/record.js';
import type { EngineFace } from './face.js';
import type { EngineNetwork } from '../transport/network.js';
import type { WireFault } from './ports.js';

/** What is sent to a worker when it starts. Plain data. */
export interface EngineWorkerData {
  /** Where replica.db, history.db, log/ and snapshots/ live. */
  readonly directory: string;
  readonly identity: LogIdentity;
  readonly leases: boolean;
  /** Deliveries of applied entries that nobody listens to cost nothing. */
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly network: EngineNetwork;
}

/** To the worker beside calls: nothing is answered. */
export type EngineNotice = { readonly notice: 'network'; readonly network: EngineNetwork } | { readonly notice: 'connection'; readonly fd: number };

/** Calls that cross the port: the asynchronous face of the engine, by name. */
export type EngineCalls = Pick<
  EngineFace,
  'submit' | 'dryRun' | 'barrier' | 'submitted' | 'status' | 'history' | 'historyEntry' | 'compact' | 'ready' | 'transferLeadership' | 'close'
>;
export type EngineCall = {
  [K in keyof EngineCalls]: { readonly id: number; readonly call: K; readonly args: Parameters<EngineCalls[K]> };
}[keyof EngineCalls];

/** From the worker. A reply comes after the applied entry that made it true. */
export type EngineMessage =
  | { readonly kind: 'reply'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly fault: WireFault }
  | { readonly kind: 'applied'; readonly applied: Applied }
  | { readonly kind: 'log'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly fields: object; readonly message: string | undefined }
  /** The engine is open: what has to be told before its first call. */
  | { readonly kind: 'open'; readonly status: ReplicaStatus }
  /** It could not be opened. */
  | { readonly kind: 'closed'; readonly fault: WireFault };
