import type { Entry, Raft, RaftRole, ReadState, Ready, Refusal, SnapshotChunk, SnapshotInstall } from '#raft-ts';
import { NoSpace } from '../disk/disk.js';
import type { Log } from '../log/log.js';
import type { EngineClock, Transport } from './ports.js';

/** What consensus has to tell the rest of the engine. */
export interface ConsensusListener {
  committed(entries: readonly Entry[]): void;
  readStates(states: readonly ReadState[]): void;
  /** Role, leader or term may have changed. */
  office(role: RaftRole, leader: number | undefined, term: number): void;
  snapshotWanted(index: number): void;
  snapshotChunk(chunk: SnapshotChunk): void;
  /** Its log batch is durable; the state machine is next. */
  snapshotInstall(install: SnapshotInstall): void;
  noSpace(): void;
  /** Members that do not believe this one, or whom it does not believe. */
  refused(refusals: readonly Refusal[]): void;
  /** The entry that ends the joint configuration is due. Told again with every Ready until it is appended. */
  leaveJointDue(): void;
  /** Every error of the log but NoSpace: the process must end. */
  fatal(error: unknown): void;
}

/**
 * Turns the wheel of raft-ts: sends, writes one batch, syncs, tells the node, hands out what is committed. Strictly one Ready at a time, in
 * order. Without messages it runs to the end in the turn in which it was called.
 */
export class Consensus {
  #pumping = false;
  /** A Ready whose batch found no space: nothing goes on before it is written. */
  #stuck: Ready | undefined;

  constructor(
    readonly node: Raft,
    private readonly log: Log,
    private readonly transport: Transport,
    private readonly clock: EngineClock,
    private readonly listener: ConsensusListener,
    private readonly markerOf: (install: SnapshotInstall) => Parameters<Log['append']>[0],
  ) {}

  get stuck(): boolean {
    return this.#stuck !== undefined;
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.#run().then(
      () => void (this.#pumping = false),
      (error: unknown) => this.listener.fatal(error),
    );
  }

  async #run(): Promise<void> {
    if (this.#stuck && !this.#write(this.#stuck)) return;
    while (this.node.hasReady()) {
      const ready = this.node.ready();
      this.transport.send(ready.messagesNow);
      // After write() the socket needs a turn of the loop before the sync may block it: else nothing is sent while the disk works.
      if (ready.messagesNow.length > 0 && ready.mustPersist) await this.clock.turn();
      if (!this.#write(ready)) return;
    }
    // In the same turn as the last look at the node: a pump that is asked for after this must not be lost.
    this.#pumping = false;
  }

  /** False if there was no space, and the Ready waits. */
  #write(ready: Ready): boolean {
    try {
      if (ready.snapshotChunk) this.listener.snapshotChunk(ready.snapshotChunk);
      if (ready.mustPersist) this.#persist(ready);
    } catch (error) {
      if (!(error instanceof NoSpace)) throw error;
      this.#stuck = ready;
      this.listener.noSpace();
      return false;
    }
    this.#stuck = undefined;
    this.node.persisted(ready.upTo);
    this.transport.send(ready.messagesAfterPersist);
    this.listener.office(ready.role, ready.leader, ready.term);
    if (ready.snapshot) this.listener.snapshotInstall(ready.snapshot);
    if (ready.committed.length > 0) this.listener.committed(ready.committed);
    if (ready.readStates.length > 0) this.listener.readStates(ready.readStates);
    if (ready.refusals.length > 0) this.listener.refused(ready.refusals);
    if (ready.leaveJointDue) this.listener.leaveJointDue();
    if (ready.snapshotWanted !== undefined) this.listener.snapshotWanted(ready.snapshotWanted);
    return true;
  }

  #persist(ready: Ready): void {
    const startMs = this.clock.monotonicMs();
    this.log.append({
      ...(ready.snapshot ? this.markerOf(ready.snapshot) : {}),
      ...(ready.hardState ? { hardState: ready.hardState } : {}),
      ...(ready.peerBoots ? { peerBoots: ready.peerBoots } : {}),
      entries: ready.entries,
    });
    const nowMs = this.clock.monotonicMs();
    this.node.logWriteTook(nowMs - startMs, nowMs);
  }
}
