import { assert } from '#kit/assert';
import type { Entry, HardState, LogStorage, Position } from '#raft-ts';
import { type Disk, NoSpace } from '../disk/disk.js';
import { encodeBatch, HEADER_BYTES, type LogIdentity, type LogRecord, type LogState, type Marker, recordAt } from './record.js';
import { LogDamaged, recover, type Recovered, type Segment, segmentName, type Slot } from './recover.js';
import { type LogRules, logRules } from './rules.js';

export interface LogOptions {
  readonly segmentBytes?: number;
  /** For tests only: replaces single rules, to prove that a simulator notices. */
  readonly rules?: Partial<LogRules>;
}

/** What one batch writes; all of it becomes durable together. */
export interface Batch {
  /** If the first one's index is not above the end of the log, the log is truncated before it. */
  readonly entries?: readonly Entry[];
  readonly hardState?: HardState;
  readonly boots?: readonly string[];
  readonly identity?: LogIdentity;
  readonly marker?: Marker | null;
  readonly peerBoots?: Readonly<Record<number, string>>;
  /** Drops all entries; the log then begins after this place. */
  readonly reset?: Position;
}

const SEGMENT_BYTES = 4 * 1024 * 1024;
/** A batch that is larger than a segment gets one of its own size, with this much room for the state at its head. */
const HEAD_ROOM_BYTES = 64 * 1024;

/**
 * The durable log of one member: segments of records, written in numbered batches, one sync a batch. It is the storage that raft-ts reads.
 *
 * It keeps no entry in memory: raft-ts has the newest ones, and older ones are read back and checked.
 *
 * The next segment is made while the present one still has room (`prepareNext`), so that running out of space is known before a batch fails.
 * Every error but NoSpace is final: the log refuses all further writes, and the process is expected to end.
 */
export class Log implements LogStorage {
  readonly tornBytes: number;
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  #segments: Segment[];
  #spare: Segment | undefined;
  #end: number;
  #nextBatch: number;
  #state: LogState;
  #first: number;
  #slots: Slot[];
  #broken: unknown;

  private constructor(disk: Disk, found: Recovered, { segmentBytes = SEGMENT_BYTES }: LogOptions) {
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.tornBytes = found.tornBytes;
    this.#segments = found.segments;
    this.#end = found.end;
    this.#nextBatch = found.nextBatch;
    this.#state = found.state;
    this.#first = found.first;
    this.#slots = found.slots;
  }

  /** Reads and checks the whole log. @throws LogDamaged */
  static open(disk: Disk, options: LogOptions = {}): Log {
    return new Log(disk, recover(disk, { ...logRules, ...options.rules }), options);
  }

  /** Hard state, boots and the rest, as durable. */
  get state(): LogState {
    return this.#state;
  }

  /** False after an error that nothing may follow. */
  get usable(): boolean {
    return this.#broken === undefined;
  }

  firstIndex(): number {
    return this.#first;
  }

  lastIndex(): number {
    return this.#first + this.#slots.length - 1;
  }

  term(index: number): number | undefined {
    if (index === this.#state.compacted.index) return this.#state.compacted.term;
    return this.#slots[index - this.#first]?.term;
  }

  entries(from: number, to: number, maxBytes: number): readonly Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index <= Math.min(to, this.lastIndex()); index += 1) {
      const slot = this.#slots[index - this.#first];
      if (!slot || (found.length > 0 && bytes + slot.dataBytes > maxBytes)) break;
      found.push(this.#readBack(index, slot));
      bytes += slot.dataBytes;
    }
    return found;
  }

  /** Bytes in segments that hold entries, about what compaction could free. */
  get sizeBytes(): number {
    return this.#segments.slice(0, -1).reduce((sum, segment) => sum + segment.file.sizeBytes, this.#end);
  }

  /** The lowest index from which on the entries hold at most `bytes`. */
  indexWithin(bytes: number): number {
    let left = bytes;
    let index = this.lastIndex() + 1;
    for (let slot = this.#slots[index - 1 - this.#first]; slot && left >= slot.dataBytes; slot = this.#slots[index - 1 - this.#first]) {
      left -= slot.dataBytes;
      index -= 1;
    }
    return index;
  }

  /** One batch, durable when this returns. @throws NoSpace and nothing has changed; anything else is the end */
  append(batch: Batch): void {
    const state = nextState(this.#state, batch);
    this.#write(batchRecords(batch), state, batch.entries ?? [], batch.reset);
  }

  /** Forgets entries up to `index`, whose effects the caller has made durable elsewhere. */
  compact(index: number): void {
    const term = this.term(index);
    assert(term !== undefined && index <= this.lastIndex(), 'the log is compacted up to an entry that it has');
    if (index <= this.#state.compacted.index) return;
    const compacted = { index, term };
    this.#write([{ kind: 'compacted', value: compacted }], { ...this.#state, compacted }, []);
    this.#slots.splice(0, index + 1 - this.#first);
    this.#first = index + 1;
    this.#dropSegments();
  }

  /** Makes the next segment when the present one is half full. Call it where its time costs nobody. @throws NoSpace */
  prepareNext(): void {
    const current = this.#segments.at(-1);
    if (this.#spare || !current || this.#end < current.file.sizeBytes / 2) return;
    this.#spare = this.#create(current.number + 1, this.#segmentBytes);
  }

  close(): void {
    for (const segment of [...this.#segments, ...(this.#spare ? [this.#spare] : [])]) segment.file.close();
    this.#segments = [];
    this.#spare = undefined;
    this.#broken = new Error('the log is closed');
  }

  #write(records: readonly LogRecord[], state: LogState, entries: readonly Entry[], reset?: Position): void {
    if (this.#broken) throw this.#broken;
    if (records.length === 0) return;
    try {
      const { segment, offset, entryOffsets } = this.#put(records, state);
      this.#state = state;
      if (reset) this.#forgetAll(reset);
      entries.forEach((entry, n) => this.#note(entry, segment, offset + (entryOffsets[n] as number)));
    } catch (error) {
      // A partly written batch is torn, and rewritten whole by the next one that finds space: it has the same number and place.
      if (!(error instanceof NoSpace)) this.#broken = error;
      throw error;
    }
  }

  #put(records: readonly LogRecord[], state: LogState): { segment: Segment; offset: number; entryOffsets: number[] } {
    let current = this.#segments.at(-1);
    let written = records;
    let encoded = current && encodeBatch(written, this.#nextBatch, current.number);
    if (!current || !encoded || this.#end + encoded.bytes.length > current.file.sizeBytes) {
      const number = (current?.number ?? 0) + 1;
      written = [...headOf(state), ...records.filter((record) => record.kind === 'entry' || record.kind === 'reset')];
      encoded = encodeBatch(written, this.#nextBatch, number);
      current = this.#next(number, encoded.bytes.length);
    }
    const offset = this.#end;
    current.file.write(offset, encoded.bytes);
    current.file.sync();
    this.#end += encoded.bytes.length;
    this.#nextBatch += 1;
    const { offsets } = encoded;
    return { segment: current, offset, entryOffsets: written.flatMap((record, n) => (record.kind === 'entry' ? [offsets[n] as number] : [])) };
  }

  #next(number: number, neededBytes: number): Segment {
    let next = this.#spare;
    if (!next || next.file.sizeBytes < neededBytes) {
      this.#discardSpare();
      next = this.#create(number, Math.max(this.#segmentBytes, neededBytes + HEAD_ROOM_BYTES));
    }
    this.#spare = undefined;
    this.#segments.push(next);
    this.#end = 0;
    return next;
  }

  #discardSpare(): void {
    if (!this.#spare) return;
    this.#spare.file.close();
    this.#disk.remove(segmentName(this.#spare.number));
    this.#spare = undefined;
  }

  #create(number: number, sizeBytes: number): Segment {
    return { number, file: this.#disk.create(segmentName(number), sizeBytes), highest: 0 };
  }

  #note(entry: Entry, segment: Segment, offset: number): void {
    const place = entry.index - this.#first;
    assert(place >= 0 && place <= this.#slots.length, 'an entry is appended behind, or in the place of, one that is there');
    this.#slots.length = place;
    this.#slots.push({ term: entry.term, segment: segment.number, offset, dataBytes: entry.data.length });
    segment.highest = Math.max(segment.highest, entry.index);
  }

  #forgetAll(reset: Position): void {
    this.#first = reset.index + 1;
    this.#slots = [];
    for (const segment of this.#segments) segment.highest = 0;
    this.#dropSegments();
  }

  /** Oldest first, so that a crash in between leaves no hole. The present segment begins with all state, or a later record has it. */
  #dropSegments(): void {
    let dropped = 0;
    while (this.#segments.length > 1 && (this.#segments[0] as Segment).highest < this.#first) {
      const [oldest] = this.#segments.splice(0, 1) as [Segment];
      oldest.file.close();
      this.#disk.remove(segmentName(oldest.number));
      dropped += 1;
    }
    if (dropped > 0) this.#disk.syncDirectory();
  }

  #readBack(index: number, slot: Slot): Entry {
    const segment = this.#segments[slot.segment - (this.#segments[0] as Segment).number];
    assert(segment, 'an entry that the log has lies in a segment that it has');
    // The body is a little longer than the data: entry head and, rarely, a configuration. Read once more if it does not suffice.
    for (let lengthBytes = HEADER_BYTES + slot.dataBytes + 512; ; lengthBytes *= 4) {
      const bytes = segment.file.read(slot.offset, lengthBytes);
      const found = recordAt(bytes, 0, slot.segment);
      if (found?.record.kind === 'entry' && found.record.entry.index === index) return found.record.entry;
      if (bytes.length < lengthBytes || lengthBytes > slot.dataBytes + 16 * 1024 * 1024) throw new LogDamaged(`entry ${index} cannot be read back`);
    }
  }
}

function nextState(state: LogState, batch: Batch): LogState {
  return {
    hardState: batch.hardState ?? state.hardState,
    identity: batch.identity ?? state.identity,
    boots: batch.boots ?? state.boots,
    marker: batch.marker === undefined ? state.marker : (batch.marker ?? undefined),
    compacted: batch.reset ?? state.compacted,
    peerBoots: batch.peerBoots ?? state.peerBoots,
  };
}

function batchRecords(batch: Batch): LogRecord[] {
  const records: LogRecord[] = [];
  if (batch.identity) records.push({ kind: 'identity', value: batch.identity });
  if (batch.boots) records.push({ kind: 'boots', value: batch.boots });
  if (batch.peerBoots) records.push({ kind: 'peerBoots', value: batch.peerBoots });
  if (batch.marker !== undefined) records.push({ kind: 'marker', value: batch.marker });
  if (batch.reset) records.push({ kind: 'reset', value: batch.reset });
  for (const entry of batch.entries ?? []) records.push({ kind: 'entry', entry });
  if (batch.hardState) records.push({ kind: 'hardState', value: batch.hardState });
  return records;
}

/** All that a segment begins with, so that the ones before it can go. */
function headOf(state: LogState): LogRecord[] {
  return [
    { kind: 'hardState', value: state.hardState },
    { kind: 'compacted', value: state.compacted },
    { kind: 'boots', value: state.boots },
    { kind: 'marker', value: state.marker ?? null },
    { kind: 'peerBoots', value: state.peerBoots },
    ...(state.identity ? [{ kind: 'identity', value: state.identity } as const] : []),
  ];
}
