import type { Entry, HardState, Position } from '#raft-ts';
import type { Disk, DiskFile } from '../disk/disk.js';
import { type FoundRecord, laterBatchBehind, type LogIdentity, type LogState, type Marker, recordAt } from './record.js';
import { type LogRules, logRules } from './rules.js';

/** Bad bytes with good ones behind them: no tail, and nothing that may be dropped. The member neither votes nor acknowledges. */
export class LogDamaged extends Error {
  constructor(what: string) {
    super(`the log is damaged: ${what}`);
    this.name = 'LogDamaged';
  }
}

/** Where an entry's record lies. */
export interface Slot {
  readonly term: number;
  readonly segment: number;
  readonly offset: number;
  readonly dataBytes: number;
}

export interface Segment {
  readonly number: number;
  readonly file: DiskFile;
  /** Highest index of an entry in it, 0 if it has none. */
  highest: number;
}

export interface Recovered {
  readonly segments: Segment[];
  /** Where the next batch goes in the last segment. */
  readonly end: number;
  readonly nextBatch: number;
  readonly state: LogState;
  /** Index of slots[0]. */
  readonly first: number;
  readonly slots: Slot[];
  /** Bytes of a torn batch that were dropped; 0 after a clean end. */
  readonly tornBytes: number;
}

export const EMPTY_STATE: LogState = {
  hardState: { term: 0, commit: 0 },
  identity: undefined,
  boots: [],
  marker: undefined,
  compacted: { index: 0, term: 0 },
  peerBoots: {},
};

export const segmentName = (number: number): string => `${String(number).padStart(10, '0')}.log`;
const numberOf = (name: string): number | undefined => (/^\d{10}\.log$/.test(name) ? Number.parseInt(name, 10) : undefined);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Takes in records in the order in which they were written. */
class Replay {
  readonly state: Mutable<LogState> = { ...EMPTY_STATE };
  first = 1;
  slots: Slot[] = [];

  take({ record, offset }: FoundRecord, segment: Segment): void {
    switch (record.kind) {
      case 'entry':
        this.#entry(record.entry, offset, segment);
        return;
      case 'compacted':
        this.state.compacted = record.value;
        return;
      case 'reset':
        this.state.compacted = record.value;
        this.first = record.value.index + 1;
        this.slots = [];
        return;
      case 'marker':
        this.state.marker = record.value ?? undefined;
        return;
      case 'hardState':
        this.state.hardState = record.value as HardState;
        return;
      case 'identity':
        this.state.identity = record.value as LogIdentity;
        return;
      case 'boots':
        this.state.boots = record.value;
        return;
      case 'peerBoots':
        this.state.peerBoots = record.value;
    }
  }

  #entry(entry: Entry, offset: number, segment: Segment): void {
    if (this.slots.length === 0) this.first = entry.index;
    const place = entry.index - this.first;
    if (place < 0 || place > this.slots.length) throw new LogDamaged(`entry ${entry.index} does not follow the one before it`);
    this.slots.length = place;
    this.slots.push({ term: entry.term, segment: segment.number, offset, dataBytes: entry.data.length });
    segment.highest = Math.max(segment.highest, entry.index);
  }

  /** Entries below the compaction point may still lie in the oldest segments. */
  finish(): void {
    const { compacted } = this.state;
    const gone = compacted.index + 1 - this.first;
    if (this.slots.length === 0) this.first = compacted.index + 1;
    else if (gone < 0) throw new LogDamaged(`entries ${compacted.index + 1} to ${this.first - 1} are missing`);
    else {
      this.slots.splice(0, gone);
      this.first = compacted.index + 1;
    }
  }
}

function openSegments(disk: Disk): Segment[] {
  const numbers = disk
    .list()
    .flatMap((name) => numberOf(name) ?? [])
    .sort((a, b) => a - b);
  numbers.forEach((number, n) => {
    if (n > 0 && number !== (numbers[n - 1] as number) + 1) throw new LogDamaged(`segment ${number - 1} is missing`);
  });
  return numbers.map((number) => ({ number, file: disk.open(segmentName(number)), highest: 0 }));
}

/** The whole batch at `offset`, if all of its records are right and it has the number that is due. */
function batchAt(bytes: Uint8Array, offset: number, segment: number, due: number | undefined, rules: LogRules): FoundRecord[] | undefined {
  const found: FoundRecord[] = [];
  for (let at = offset; ;) {
    const record = recordAt(bytes, at, segment, rules);
    if (!record || record.batch !== (found[0]?.batch ?? due ?? record.batch)) return undefined;
    found.push(record);
    if (record.last) return found;
    at = record.end;
  }
}

/**
 * Reads and checks everything. Only the last batch may be torn, since no batch is begun before the one before it is durable; it is
 * dropped, and its bytes are zeroed. A bad place with any later batch behind it is damage.
 * @throws LogDamaged
 */
export function recover(disk: Disk, rules: LogRules = logRules): Recovered {
  const segments = openSegments(disk);
  const replay = new Replay();
  let nextBatch: number | undefined;
  const rests: { file: DiskFile; bytes: Uint8Array; from: number }[] = [];
  let lastUsed = -1;
  let end = 0;
  for (const [place, segment] of segments.entries()) {
    const bytes = segment.file.read(0, segment.file.sizeBytes);
    let at = 0;
    const next = (): FoundRecord[] | undefined => batchAt(bytes, at, segment.number, nextBatch, rules);
    for (let batch = next(); batch; batch = next()) {
      for (const record of batch) replay.take(record, segment);
      nextBatch = (batch[0] as FoundRecord).batch + 1;
      at = (batch.at(-1) as FoundRecord).end;
      lastUsed = place;
      end = at;
    }
    if (rules.isDamage(laterBatchBehind(bytes, at, segment.number, nextBatch ?? 0))) throw new LogDamaged(`segment ${segment.number} at byte ${at}`);
    if (place > lastUsed && place + 1 < segments.length) throw new LogDamaged(`segment ${segment.number} has no batch and is not the last`);
    rests.push({ file: segment.file, bytes, from: at });
  }
  replay.finish();
  // Only now, when nothing turned out to be damage, may anything be written.
  // A process that was killed may have left its last batch unsynced in the page cache, where this start found it. It must be durable before anything
  // is written behind it: should the power fail then, it would be missing with a later batch behind it.
  segments[lastUsed]?.file.sync();
  const tornBytes = rests.reduce((sum, { file, bytes, from }) => sum + wipe(file, bytes, from), 0);
  const unused = segments.splice(lastUsed + 1);
  for (const segment of unused) {
    segment.file.close();
    disk.remove(segmentName(segment.number));
  }
  if (unused.length > 0) disk.syncDirectory();
  return { segments, end, nextBatch: nextBatch ?? 1, state: replay.state, first: replay.first, slots: replay.slots, tornBytes };
}

/** Zeroes what a torn batch left, so that none of it can be taken for something later. Says how many bytes that were. */
function wipe(file: DiskFile, bytes: Uint8Array, from: number): number {
  let to = bytes.length;
  while (to > from && bytes[to - 1] === 0) to -= 1;
  if (to === from) return 0;
  file.write(from, new Uint8Array(to - from));
  file.sync();
  return to - from;
}

/** For tools that show a log without opening it for writing. */
export type { LogIdentity, LogState, Marker, Position };
