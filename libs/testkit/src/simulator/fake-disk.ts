import { NoSpace, type Disk, type DiskFile } from '#replica/engine';
import type { Random } from './random.js';

/** What the processor's end of a machine sees of its death. Thrown through the code that was at work; it catches nothing. */
export class Crashed extends Error {}

/** An error of the device: final for whoever meets it. */
export class DiskError extends Error {
  readonly code = 'EIO';
  constructor(call: string) {
    super(`EIO: i/o error, ${call}`);
  }
}

interface Pending {
  readonly atMs: number;
  readonly offset: number;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  durableAtMs: number;
}

interface FileState {
  readonly name: string;
  bytes: Uint8Array;
  pending: Pending[];
  readonly atMs: number;
  /** When its name and its blocks were safe. */
  createdAtMs: number;
  /** Where what was written last begins: only that may be torn. */
  lastWriteAt: number;
}

const SECTOR_BYTES = 512;

/**
 * A directory whose writes are durable only once a sync has ended, in virtual time: until then a crash may keep them, lose them, or keep some of
 * their sectors. Calls return at once, as the log is synchronous; `busyUntilMs` says until when the caller is held up in truth.
 *
 * Removals and new names keep their order over a crash, as in any file system with a journal.
 */
export class FakeDisk implements Disk {
  /** Time that one sync takes. */
  syncMs: () => number = () => 0.1;
  /** No new file, and no write that needs a block, until that is false again. */
  full = false;
  /** The next call of this kind fails, once. */
  failNext: 'read' | 'write' | 'sync' | undefined;
  /** No sync ends before. */
  hangsUntilMs = 0;
  busyUntilMs = 0;
  private files = new Map<string, FileState>();
  private removed: { readonly file: FileState; readonly atMs: number; durableAtMs: number }[] = [];
  /** When the caller died, if it died of a call. */
  private diedAtMs: number | undefined;

  constructor(
    private readonly nowMs: () => number,
    private readonly random: Random,
    /** Called before each effect; may throw Crashed. */
    private readonly effect: (what: string) => void,
  ) {}

  list(): string[] {
    return [...this.files.keys()];
  }

  create(name: string, sizeBytes: number): DiskFile {
    this.touch('create');
    if (this.full) throw new NoSpace();
    const file: FileState = { name, bytes: new Uint8Array(sizeBytes), pending: [], atMs: this.localMs, createdAtMs: Infinity, lastWriteAt: 0 };
    this.files.set(name, file);
    file.createdAtMs = this.sync();
    this.removalsSafe(file.createdAtMs);
    return this.handle(file);
  }

  open(name: string): DiskFile {
    const file = this.files.get(name);
    if (!file) throw new Error(`ENOENT: ${name}`);
    return this.handle(file);
  }

  remove(name: string): void {
    this.touch('remove');
    const file = this.files.get(name);
    if (!file) throw new Error(`ENOENT: ${name}`);
    this.files.delete(name);
    this.removed.push({ file, atMs: this.localMs, durableAtMs: Infinity });
  }

  syncDirectory(): void {
    this.touch('sync directory');
    this.removalsSafe(this.sync());
  }

  /** The process is gone at this moment, the machine is not: what it wrote stays, synced or not. */
  kill(): void {
    this.endAt(this.diedAtMs ?? this.nowMs());
  }

  /** Power is gone at this moment: what was not durable is lost, torn, or there by luck. */
  crash(): void {
    const now = this.diedAtMs ?? this.nowMs();
    this.endAt(now);
    // In the order in which they were removed, so the last ones come back.
    const kept = this.removed.filter(({ durableAtMs }) => durableAtMs > now);
    for (const { file } of kept.slice(this.random.below(kept.length + 1))) this.files.set(file.name, file);
    this.removed = [];
    for (const file of this.files.values()) {
      if (file.createdAtMs > now) {
        if (this.random.chance(0.5)) this.files.delete(file.name);
        else file.bytes = new Uint8Array(this.random.chance(0.5) ? 0 : file.bytes.length);
        file.pending = [];
        file.createdAtMs = 0;
        continue;
      }
      this.crashFile(file, now);
    }
  }

  /** What was called, but would have happened later, did not happen. */
  private endAt(atMs: number): void {
    this.diedAtMs = undefined;
    this.busyUntilMs = 0;
    for (const removal of this.removed) if (removal.atMs > atMs) this.files.set(removal.file.name, removal.file);
    this.removed = this.removed.filter((removal) => removal.atMs <= atMs);
    for (const file of this.files.values()) {
      if (file.atMs > atMs) this.files.delete(file.name);
      for (const { offset, before } of file.pending.filter((pending) => pending.atMs > atMs).toReversed()) file.bytes.set(before, offset);
      file.pending = file.pending.filter((pending) => pending.atMs <= atMs);
    }
  }

  /** One bit of what is at rest is another. False if there is nothing that could rot without being a torn tail. */
  rot(): boolean {
    const candidates = [...this.files.values()].filter((file) => file.lastWriteAt > 0);
    if (candidates.length === 0) return false;
    const file = this.random.pick(candidates);
    // What was written last may be the log's last batch, whose loss no checksum can tell from a torn write.
    const at = this.random.below(file.lastWriteAt);
    file.bytes[at] = (file.bytes[at] as number) ^ (1 << this.random.below(8));
    return true;
  }

  /** Copies of all there is, as a virtual machine's snapshot has them. */
  image(): DiskImage {
    return new Map([...this.files].map(([name, file]) => [name, { bytes: file.bytes.slice(), lastWriteAt: file.lastWriteAt }]));
  }

  putBack(image: DiskImage): void {
    this.removed = [];
    this.files = new Map(
      [...image].map(([name, { bytes, lastWriteAt }]) => [name, { name, bytes: bytes.slice(), pending: [], atMs: 0, createdAtMs: 0, lastWriteAt }]),
    );
  }

  /** When a call that is made now happens. */
  private get localMs(): number {
    return Math.max(this.nowMs(), this.busyUntilMs);
  }

  private touch(what: string): void {
    try {
      this.effect(what);
    } catch (error) {
      this.diedAtMs = this.localMs;
      throw error;
    }
  }

  /** How much a sync that begins now holds up its caller. */
  private sync(): number {
    this.busyUntilMs = Math.max(this.localMs + this.syncMs(), this.hangsUntilMs);
    return this.busyUntilMs;
  }

  private removalsSafe(atMs: number): void {
    for (const removal of this.removed) removal.durableAtMs = Math.min(removal.durableAtMs, atMs);
  }

  private handle(file: FileState): DiskFile {
    return {
      sizeBytes: file.bytes.length,
      read: (offset, lengthBytes) => {
        this.mayFail('read');
        return file.bytes.slice(offset, Math.min(file.bytes.length, offset + lengthBytes));
      },
      write: (offset, bytes) => {
        this.touch('write');
        if (offset + bytes.length > file.bytes.length) throw new RangeError('write beyond the preallocated file');
        this.mayFail('write');
        // A full disk may take a part of it.
        const taken = this.full && this.random.chance(0.5) ? bytes.subarray(0, this.random.below(bytes.length)) : bytes;
        this.write(file, offset, taken);
        if (taken.length < bytes.length) throw new NoSpace();
      },
      sync: () => {
        this.touch('sync');
        this.mayFail('sync');
        const durableAtMs = this.sync();
        for (const pending of file.pending) pending.durableAtMs = Math.min(pending.durableAtMs, durableAtMs);
      },
      close: () => {},
    };
  }

  private write(file: FileState, offset: number, bytes: Uint8Array): void {
    const now = this.nowMs();
    if (file.pending.length > 0) file.pending = file.pending.filter(({ durableAtMs }) => durableAtMs > now);
    file.pending.push({ atMs: this.localMs, offset, before: file.bytes.slice(offset, offset + bytes.length), after: bytes, durableAtMs: Infinity });
    file.bytes.set(bytes, offset);
    file.lastWriteAt = offset;
  }

  private mayFail(call: 'read' | 'write' | 'sync'): void {
    if (this.failNext !== call) return;
    this.failNext = undefined;
    this.diedAtMs = this.localMs;
    throw new DiskError(call);
  }

  private crashFile(file: FileState, now: number): void {
    const unsafe = file.pending.filter(({ durableAtMs }) => durableAtMs > now);
    file.pending = [];
    for (const { offset, before } of unsafe.toReversed()) file.bytes.set(before, offset);
    for (const { offset, after } of unsafe) {
      const fate = this.random.below(4);
      if (fate === 0) continue;
      if (fate === 1) file.bytes.set(after, offset);
      else if (fate === 2) file.bytes.set(after.subarray(0, this.random.below(after.length + 1)), offset);
      else this.keepSectors(file, offset, after);
    }
  }

  private keepSectors(file: FileState, offset: number, after: Uint8Array): void {
    for (let at = 0; at < after.length;) {
      const end = Math.min(after.length, at + SECTOR_BYTES - ((offset + at) % SECTOR_BYTES));
      if (this.random.chance(0.5)) file.bytes.set(after.subarray(at, end), offset + at);
      at = end;
    }
  }
}

export type DiskImage = ReadonlyMap<string, { readonly bytes: Uint8Array; readonly lastWriteAt: number }>;
