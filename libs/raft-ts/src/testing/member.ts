/** One member for tests: a node, and in memory what a host keeps on disk for it. `crash` forgets all but the disk. */
import {
  MemoryStorage,
  RaftNode,
  noConfiguration,
  type Configuration,
  type Entry,
  type HardState,
  type MemberId,
  type Message,
  type RaftOptions,
  type Ready,
  type SnapshotMeta,
  type SnapshotSource,
} from '../index.js';

export interface Machine {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
  /** What was applied, in order, as text. */
  readonly values: readonly string[];
}

export interface Disk {
  storage: MemoryStorage;
  hardState: HardState;
  boots: string[];
  machine: Machine;
  partial?: { meta: SnapshotMeta; bytes: Uint8Array };
}

export interface MemberHooks {
  send(message: Message): void;
  /** Something a transcript may show. */
  event(member: Member, what: string): void;
  ready?(member: Member, ready: Ready): void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Member implements SnapshotSource {
  node: RaftNode | undefined;
  disk: Disk;
  snapshot: { meta: SnapshotMeta; bytes: Uint8Array } | undefined;
  reads: { context: number; index?: number; refused?: string; valuesSeen?: readonly string[] }[] = [];
  /** Reads that wait for the applied index. */
  private waiting: { context: number; index: number }[] = [];
  /** How long it waits before it stands for election, of 0 to 1. By default the one with the lowest id is the first. */
  patience: number;
  /** Crash at that point of a coming Ready that has something to write. */
  crashAt: { readonly point: 'sent' | 'written' | 'applied'; countdown: number } | undefined;
  private role = 'follower';
  private starts = 0;

  constructor(
    readonly id: MemberId,
    configuration: Configuration,
    private readonly hooks: MemberHooks,
    private readonly options: Partial<RaftOptions> = {},
  ) {
    this.patience = (id - 1) / 10;
    this.disk = {
      storage: new MemoryStorage(),
      hardState: { term: 0, commit: 0 },
      boots: [],
      machine: { index: 0, term: 0, configuration, values: [] },
    };
  }

  start(nowMs: number): void {
    this.disk.boots = [...this.disk.boots, `${this.id}${String.fromCharCode(97 + (this.starts % 26))}${this.starts > 25 ? this.starts : ''}`];
    this.starts++;
    const { storage, hardState, boots, machine, partial } = this.disk;
    this.role = 'follower';
    this.waiting = [];
    this.node = new RaftNode({
      hardState,
      applied: { index: machine.index, configuration: machine.configuration },
      storage,
      snapshots: this,
      startMs: nowMs,
      random: () => this.patience,
      ...(partial && { partialSnapshot: { meta: partial.meta, receivedBytes: partial.bytes.length } }),
      ...this.options,
      identity: { cluster: 'c', member: this.id, incarnation: 0, ...this.options.identity, boots },
    });
  }

  /** Everything that is not on disk is gone. */
  crash(): void {
    this.hooks.event(this, 'crashed');
    this.crashAt = undefined;
    this.node = undefined;
    this.snapshot = undefined;
  }

  /** Turns the wheel until nothing is left to do. */
  turn(): void {
    while (this.node?.hasReady()) {
      const { node } = this;
      const ready = node.ready();
      this.hooks.ready?.(this, ready);
      const crashing = ready.mustPersist && this.crashAt && --this.crashAt.countdown === 0 ? this.crashAt.point : undefined;
      if (ready.role !== this.role) this.hooks.event(this, `${(this.role = ready.role)} in term ${ready.term}`);
      for (const { by, member, reason } of ready.refusals) {
        this.hooks.event(this, by === this.id ? `refuses ${member}: ${reason}` : `is refused by ${by}: ${reason}`);
      }
      for (const message of ready.messagesNow) this.hooks.send(message);
      if (crashing === 'sent') return this.crash();
      this.write(ready);
      if (crashing === 'written') return this.crash();
      for (const message of ready.messagesAfterPersist) this.hooks.send(message);
      node.persisted(ready.upTo);
      if (ready.snapshot) {
        this.disk.machine = JSON.parse(decoder.decode(this.disk.partial!.bytes)) as Machine;
        delete this.disk.partial;
        this.hooks.event(this, `installed snapshot ${ready.snapshot.meta.index} (${ready.snapshot.replaces})`);
        node.applied(ready.snapshot.meta.index);
      }
      for (const entry of ready.committed) this.apply(entry);
      if (crashing === 'applied') return this.crash();
      this.answer(ready);
      if (ready.snapshotWanted !== undefined && this.disk.machine.index >= ready.snapshotWanted) this.takeSnapshot();
      if (ready.snapshotChunk?.last) node.snapshotReceived(ready.snapshotChunk.meta, true);
    }
  }

  propose(text: string): string {
    const place = this.node?.nextPlace() ?? { term: 0, index: 0 };
    const result = this.node?.propose(encoder.encode(text), place);
    return result === 'ok' ? `ok ${place.index}/${place.term}` : `refused: ${result?.refused ?? 'down'}`;
  }

  takeSnapshot(): void {
    const { machine } = this.disk;
    const bytes = encoder.encode(JSON.stringify(machine));
    const meta: SnapshotMeta = {
      index: machine.index,
      term: machine.term,
      configuration: machine.configuration,
      sizeBytes: bytes.length,
      hash: hashOf(bytes),
    };
    this.snapshot = { meta, bytes };
  }

  /** Drops the log up to there; the machine is always durable. */
  compact(index: number = this.disk.machine.index): void {
    this.disk.storage.compact(Math.min(index, this.disk.machine.index));
  }

  // SnapshotSource

  latest(): SnapshotMeta | undefined {
    return this.snapshot?.meta;
  }

  read(meta: SnapshotMeta, offset: number, maxBytes: number): Uint8Array | undefined {
    return meta.hash === this.snapshot?.meta.hash ? this.snapshot.bytes.slice(offset, offset + maxBytes) : undefined;
  }

  private write(ready: Ready): void {
    const { disk } = this;
    if (ready.snapshotChunk) {
      const { meta, offset, data } = ready.snapshotChunk;
      const before = offset === 0 ? new Uint8Array(0) : disk.partial!.bytes;
      disk.partial = { meta, bytes: Uint8Array.of(...before, ...data) };
    }
    if (ready.snapshot) disk.storage.install(ready.snapshot);
    if (ready.hardState) disk.hardState = ready.hardState;
    disk.storage.append(ready.entries);
  }

  private apply(entry: Entry): void {
    const { machine } = this.disk;
    const text = entry.type === 'normal' ? decoder.decode(entry.data) : entry.type;
    this.disk.machine = {
      index: entry.index,
      term: entry.term,
      configuration: entry.configuration ?? machine.configuration,
      values: entry.type === 'normal' ? [...machine.values, text] : machine.values,
    };
    this.hooks.event(this, `applied ${entry.index}/${entry.term} ${entry.configuration ? describeConfiguration(entry.configuration) : text}`);
    this.node!.applied(entry.index);
  }

  private answer(ready: Ready): void {
    for (const state of ready.readStates) {
      if ('refused' in state) {
        this.reads.push(state);
        this.hooks.event(this, `read ${state.context} refused: ${state.refused}`);
      } else this.waiting.push(state);
    }
    const { machine } = this.disk;
    const due = this.waiting.filter((read) => read.index <= machine.index);
    this.waiting = this.waiting.filter((read) => read.index > machine.index);
    for (const read of due) {
      this.reads.push({ ...read, valuesSeen: machine.values });
      this.hooks.event(this, `read ${read.context} at ${read.index}`);
    }
  }
}

export function hashOf(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16);
}

export function describeConfiguration(c: Configuration): string {
  const parts = [`voters ${c.voters.join(',') || 'none'}`];
  if (c.outgoing.length > 0) parts.push(`outgoing ${c.outgoing.join(',')}`);
  if (c.learners.length > 0) parts.push(`learners ${c.learners.join(',')}`);
  if (c.spares.length > 0) parts.push(`spares ${c.spares.join(',')}`);
  return parts.join(' ');
}

export { noConfiguration };
