/**
 * A state machine that costs nothing: a few registers, the last request of each client with its result, and a digest of everything applied. Its
 * states are values, so that after a crash any of the last ones may be what is left, as with a database whose last commits were not synced.
 */
import type { Configuration, Entry } from '#raft-ts';
import { EMPTY } from './linearizability.js';

export interface ToyRequest {
  readonly client: number;
  /** Rises with each request of the client. A repetition has the same. */
  readonly number: number;
  readonly key: number;
  readonly value: number;
  /** Present: only if the register holds this. */
  readonly expected?: number | undefined;
}

export interface ToyResult {
  readonly done: boolean;
  /** What the register held before. */
  readonly found: number;
}

export interface ToyState {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
  readonly registers: Readonly<Record<number, number>>;
  readonly last: Readonly<Record<number, { readonly number: number; readonly result: ToyResult }>>;
  readonly digest: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const emptyState = (configuration: Configuration): ToyState => ({ index: 0, term: 0, configuration, registers: {}, last: {}, digest: 0 });

export const encodeRequest = (request: ToyRequest): Uint8Array => encoder.encode(JSON.stringify(request));
export const decodeRequest = (data: Uint8Array): ToyRequest => JSON.parse(decoder.decode(data)) as ToyRequest;

export const registerOf = (state: ToyState, key: number): number => state.registers[key] ?? EMPTY;

/** What a request would come to in this state. */
export function outcomeOf(state: ToyState, request: ToyRequest): ToyResult {
  const found = registerOf(state, request.key);
  return { done: request.expected === undefined || request.expected === found, found };
}

export function applyEntry(state: ToyState, entry: Entry, repeats = false): ToyState {
  const digest = digestOf(state.digest, entry);
  const next = { ...state, index: entry.index, term: entry.term, digest };
  if (entry.type === 'configuration') return { ...next, configuration: entry.configuration as Configuration };
  if (entry.type === 'noop') return next;
  const request = decodeRequest(entry.data);
  // One that was repeated, or came late after the client had given it up and gone on.
  if (!repeats && request.number <= (state.last[request.client]?.number ?? 0)) return next;
  const result = outcomeOf(state, request);
  return {
    ...next,
    registers: result.done ? { ...state.registers, [request.key]: request.value } : state.registers,
    last: { ...state.last, [request.client]: { number: request.number, result } },
  };
}

/** The state as a file of about `paddingBytes` more than it needs. */
export const encodeState = (state: ToyState, paddingBytes: number): Uint8Array =>
  encoder.encode(`${JSON.stringify(state)}${' '.repeat(paddingBytes)}`);
export const decodeState = (bytes: Uint8Array): ToyState => JSON.parse(decoder.decode(bytes)) as ToyState;

function digestOf(before: number, { index, term, data }: Entry): number {
  let hash = Math.imul(before ^ index, 0x01000193) ^ term;
  for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

export function hashOf(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16);
}
