import type { Configuration, Entry, EntryType, HardState, Position } from '#raft-ts';
import { crc32c } from '../codec/crc32c.js';
import { type LogRules, logRules } from './rules.js';

/**
 * Records of the log. Each begins on an 8-byte boundary:
 *
 *   u16 magic, u8 type, u8 flags (1: last of its batch), u32 body length, u64 batch number, u32 segment number, u32 CRC32C, body, padding
 *
 * The checksum covers everything before it and the body; the segment's number in it keeps a record from counting in any other file.
 */
export const HEADER_BYTES = 24;
const MAGIC = 0x4d52;
const LAST = 1;

/** What a snapshot on its way into the replica is called. @see engine.md §3, snapshots, step 2 */
export interface Marker extends Position {
  readonly file: string;
  readonly hash: string;
  readonly configuration: Configuration;
}

export interface LogIdentity {
  readonly cluster: string;
  readonly member: number;
  readonly incarnation: number;
  /** The cluster's first voters, as an empty replica of this member has them; absent for one that was taken into a cluster later. */
  readonly founders?: readonly number[];
}

/** Everything that stands in a log beside its entries. Each new segment begins with all of it. */
export interface LogState {
  readonly hardState: HardState;
  readonly identity: LogIdentity | undefined;
  /** Boot nonces, oldest first. */
  readonly boots: readonly string[];
  readonly marker: Marker | undefined;
  /** The entries up to here are gone. */
  readonly compacted: Position;
  /** Last boot nonce seen of each peer. */
  readonly peerBoots: Readonly<Record<number, string>>;
}

export type LogRecord =
  | { readonly kind: 'entry'; readonly entry: Entry }
  | { readonly kind: 'hardState'; readonly value: HardState }
  | { readonly kind: 'identity'; readonly value: LogIdentity }
  | { readonly kind: 'boots'; readonly value: readonly string[] }
  | { readonly kind: 'marker'; readonly value: Marker | null }
  | { readonly kind: 'compacted'; readonly value: Position }
  /** The log is dropped whole; it begins after this place (a snapshot takes the place of everything before). */
  | { readonly kind: 'reset'; readonly value: Position }
  | { readonly kind: 'peerBoots'; readonly value: Readonly<Record<number, string>> };

const KINDS = ['', 'entry', 'hardState', 'identity', 'boots', 'marker', 'compacted', 'reset', 'peerBoots'] as const;
const ENTRY_TYPES: readonly EntryType[] = ['normal', 'configuration', 'noop'];
/** index f64, term f64, entry type u8, three spare, length of the configuration u32, configuration, data. */
const ENTRY_HEAD = 24;
const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { fatal: true });

function entryBody(entry: Entry): Uint8Array {
  const configuration = entry.configuration ? utf8.encode(JSON.stringify(entry.configuration)) : new Uint8Array();
  const body = new Uint8Array(ENTRY_HEAD + configuration.length + entry.data.length);
  const view = new DataView(body.buffer);
  view.setFloat64(0, entry.index);
  view.setFloat64(8, entry.term);
  view.setUint8(16, ENTRY_TYPES.indexOf(entry.type));
  view.setUint32(20, configuration.length);
  body.set(configuration, ENTRY_HEAD);
  body.set(entry.data, ENTRY_HEAD + configuration.length);
  return body;
}

function entryFrom(body: Uint8Array): Entry {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const length = view.getUint32(20);
  const head = { index: view.getFloat64(0), term: view.getFloat64(8), type: ENTRY_TYPES[view.getUint8(16)] as EntryType };
  const data = body.slice(ENTRY_HEAD + length);
  if (length === 0) return { ...head, data };
  return { ...head, data, configuration: JSON.parse(text.decode(body.subarray(ENTRY_HEAD, ENTRY_HEAD + length))) as Configuration };
}

export interface EncodedBatch {
  readonly bytes: Uint8Array;
  /** Where each record begins in `bytes`. */
  readonly offsets: readonly number[];
}

const padded = (bytes: number): number => (bytes + 7) & ~7;

/** One batch as it goes to the disk in one write. */
export function encodeBatch(records: readonly LogRecord[], batch: number, segment: number): EncodedBatch {
  const bodies = records.map((record) => (record.kind === 'entry' ? entryBody(record.entry) : utf8.encode(JSON.stringify(record.value))));
  const bytes = new Uint8Array(bodies.reduce((sum, body) => sum + padded(HEADER_BYTES + body.length), 0));
  const view = new DataView(bytes.buffer);
  const offsets: number[] = [];
  let at = 0;
  bodies.forEach((body, n) => {
    offsets.push(at);
    view.setUint16(at, MAGIC);
    view.setUint8(at + 2, KINDS.indexOf((records[n] as LogRecord).kind));
    view.setUint8(at + 3, n === bodies.length - 1 ? LAST : 0);
    view.setUint32(at + 4, body.length);
    view.setBigUint64(at + 8, BigInt(batch));
    view.setUint32(at + 16, segment);
    bytes.set(body, at + HEADER_BYTES);
    view.setUint32(at + 20, crc32c(body, crc32c(bytes.subarray(at, at + 20))));
    at += padded(HEADER_BYTES + body.length);
  });
  return { bytes, offsets };
}

export interface FoundRecord {
  readonly record: LogRecord;
  readonly batch: number;
  readonly last: boolean;
  readonly offset: number;
  /** Where the next record begins. */
  readonly end: number;
}

/** The record at `offset`, if there is a whole and right one of this segment. */
export function recordAt(bytes: Uint8Array, offset: number, segment: number, rules: LogRules = logRules): FoundRecord | undefined {
  if (offset + HEADER_BYTES > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(offset) !== MAGIC) return undefined;
  const kind = KINDS[view.getUint8(offset + 2)];
  const length = view.getUint32(offset + 4);
  const bodyAt = offset + HEADER_BYTES;
  if (!kind || bodyAt + length > bytes.length || view.getUint32(offset + 16) !== segment) return undefined;
  const body = bytes.subarray(bodyAt, bodyAt + length);
  const checksumFits = crc32c(body, crc32c(bytes.subarray(offset, offset + 20))) === view.getUint32(offset + 20);
  if (!rules.recordCounts(checksumFits)) return undefined;
  const record = kind === 'entry' ? { kind, entry: entryFrom(body) } : ({ kind, value: JSON.parse(text.decode(body)) } as LogRecord);
  return {
    record,
    batch: Number(view.getBigUint64(offset + 8)),
    last: (view.getUint8(offset + 3) & LAST) !== 0,
    offset,
    end: Math.min(bytes.length, offset + padded(HEADER_BYTES + length)),
  };
}

/** Whether any record of a batch above `batch` lies at or behind `offset`: then what is bad before it is damage, not a torn tail. */
export function laterBatchBehind(bytes: Uint8Array, offset: number, segment: number, batch: number): boolean {
  for (let at = padded(offset); at + HEADER_BYTES <= bytes.length; at += 8) {
    if (bytes[at] !== MAGIC >> 8 || bytes[at + 1] !== (MAGIC & 0xff)) continue;
    const found = recordAt(bytes, at, segment);
    if (found && found.batch > batch) return true;
  }
  return false;
}
