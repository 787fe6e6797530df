import type { CallContext } from './context.js';
import type { Streams } from './streams.js';

/** A service as ts-proto generates it from proto/: one entry a method, with its codecs. */
export type ServiceDefinition = Record<
  string,
  {
    path: string;
    requestStream: boolean;
    responseStream: boolean;
    // Method signatures make these parameters bivariant: every generated service fits.
    requestSerialize(value: never): Buffer;
    requestDeserialize(bytes: Buffer): unknown;
    responseSerialize(value: never): Buffer;
    responseDeserialize(bytes: Buffer): unknown;
  }
>;

/** The calls of a service, typed from its definition: the same face for who calls and for who answers. Messages are plain frozen data. */
export type Calls<S extends ServiceDefinition> = {
  [M in keyof S]: (request: ReturnType<S[M]['requestDeserialize']>, context: CallContext) => Promise<ReturnType<S[M]['responseDeserialize']>>;
};

/**
 * The services of the members. Two adapters, and no service may know which it has: direct (same process, no serialisation) and gRPC (a split member
 * over a unix socket, other members over mutual TLS). Faults cross both unchanged.
 */
export interface Members {
  /** Calls to `service` on a member by name; this member when absent. */
  calls<S extends ServiceDefinition>(service: S, member?: string): Calls<S>;
  /** Offers a service of this process to all who call this member. */
  serve<S extends ServiceDefinition>(service: S, handlers: Calls<S>): void;
  /** Names of the other members that are believed alive; empty where there is no cluster. */
  others(): readonly string[];
  /** Bytes beside the calls, within this member. */
  readonly streams: Streams;
}
