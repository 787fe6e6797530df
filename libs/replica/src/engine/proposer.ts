import { Fault, fault, type Logger } from '#kit';
import { changed, type Configuration, type Raft } from '#raft-ts';
import type { TableShape } from '../codec/describe.js';
import type { Command, MembershipChange, Migration } from '../state/command.js';
import type { Applier } from './applier.js';
import { captureBatch, Spoilt, takeBatch, type CapturedBatch } from './batch.js';
import { type EntryContent, encodeEntry } from './entry.js';
import { Fifo, type Item, type Waiting } from './fifo.js';
import type { Mutex } from './mutex.js';
import type { EngineClock } from './ports.js';
import type { EngineRules } from './rules.js';
import { DatabaseFull, ReplicaStopped, type StateMachine, TrialFailed } from './state-machine.js';

export interface ProposerParts {
  readonly node: Raft;
  readonly machine: StateMachine;
  readonly shapeOf: (table: string) => TableShape;
  readonly applier: Applier;
  readonly mutex: Mutex;
  readonly clock: EngineClock;
  readonly log: Logger;
  readonly commands: ReadonlyMap<string, Command>;
  /** A round that begins now; rejects if this member cannot vouch for freshness. */
  readonly barrier: () => Promise<number>;
  readonly pump: () => void;
  readonly clusterNow: () => number;
  /** Why nothing may be proposed now, apart from consensus: no space, stopped. */
  readonly hindrance: () => string | undefined;
  readonly rules: EngineRules;
}

/**
 * The leader's side of a write. One batch at a time: capture, trial, propose at the very next place; the next batch gathers meanwhile. It does
 * nothing before an entry of this leader's own term is applied, and everything before it with it.
 */
export class Proposer {
  readonly fifo = new Fifo();
  #working = false;
  #kicked = false;
  #leaveJointDue = false;
  /** Term in which the pending migrations were queued. */
  #migratedTerm = 0;

  constructor(private readonly parts: ProposerParts) {}

  /** @throws Fault unavailable when the queue is full */
  enqueue(item: Waiting): void {
    this.fifo.push(item);
    this.kick();
  }

  /** Not at once but at the end of this turn, so that what is arriving gets into the same batch. */
  kick(): void {
    if (this.#kicked || this.#working) return;
    this.#kicked = true;
    setImmediate(() => {
      this.#kicked = false;
      void this.#work();
    });
  }

  /** A joint configuration is applied: the entry that ends it comes before everything else that waits. */
  leaveJoint(): void {
    this.#leaveJointDue = true;
    this.kick();
  }

  /** Everybody who waits here asks again, elsewhere. */
  leftOffice(): void {
    this.#leaveJointDue = false;
    this.#refuse(this.fifo.drain());
  }

  /** What waits here is not done, and will not be. */
  refuseAll(why: Fault): void {
    const { kind, message, retryAfterS } = why;
    for (const item of this.fifo.drain()) if (item.kind !== 'migration') item.settle({ kind: 'fault', fault: { kind, message, retryAfterS } });
    // Migrations are queued anew when there is a going on.
    this.#migratedTerm = 0;
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    try {
      // Heartbeats go out, and commands come in, between batches.
      while (this.#mayCapture() && (await this.#next())) if (this.fifo.length > 0) await this.parts.clock.turn();
    } catch (error) {
      this.parts.log.error({ err: error }, 'the proposer failed');
      this.parts.applier.stop((error as Error).message);
    } finally {
      this.#working = false;
    }
  }

  #mayCapture(): boolean {
    const { node, machine, applier, mutex } = this.parts;
    const place = node.nextPlace();
    if (!place || !applier.idle || mutex.held || this.parts.hindrance() !== undefined) return false;
    const standing = machine.standing();
    if (!this.parts.rules.mayCapture(standing, place)) return false;
    if (this.#migratedTerm !== place.term) {
      this.#migratedTerm = place.term;
      this.fifo.dropMigrations();
      this.fifo.unshift(machine.pending().map((migration) => ({ kind: 'migration', migration }) as const));
    }
    return this.fifo.length > 0 || this.#leaveJointDue;
  }

  /** False if there is no going on for now: the next kick tries again. */
  async #next(): Promise<boolean> {
    if (this.#leaveJointDue) return this.#endJoint();
    const head = this.fifo.peek();
    if (head?.kind === 'migration') {
      this.fifo.shift();
      return this.#migration(head.migration);
    }
    const items = takeBatch(this.fifo);
    const failed = new Map<Waiting, Fault>();
    for (;;) {
      const outcome = await this.#batch(items, failed);
      if (outcome === 'gone') return true;
      if (outcome === 'later') {
        this.#again(items);
        return false;
      }
    }
  }

  /** `gone`: on its way, or answered. `later`: it has no place now. `retake`: one more command has failed, all must be captured anew. */
  async #batch(items: readonly Waiting[], failed: Map<Waiting, Fault>): Promise<'gone' | 'later' | 'retake'> {
    const { machine, mutex, clock, log, commands, shapeOf, applier } = this.parts;
    const base = machine.standing();
    const now = Math.max(base.now, this.parts.clusterNow());
    const slowHandler = (name: string, ms: number): void => log.warn({ command: name, ms: Math.round(ms) }, 'a command handler took long');
    const context = {
      capture: machine.capture,
      commands,
      shapeOf,
      now: new Date(now),
      monotonicMs: () => clock.monotonicMs(),
      slowHandler,
      failed,
      rules: this.parts.rules,
    };
    const capturing = mutex.tryHold(() => captureBatch(items, context));
    if (!capturing) return 'later';
    let batch: Awaited<typeof capturing> | undefined;
    try {
      batch = await capturing;
      if (batch.records.length === 0) {
        this.fifo.unshift(batch.rest);
        if (this.parts.rules.answersWait()) void this.#answerAsRead(batch);
        else this.#answer(batch, base.index);
        return 'gone';
      }
      // A capture is true only as the very next entry: whatever was applied since then has spoilt it.
      if (machine.standing().index !== base.index || !applier.idle) return 'later';
      const { index, term, schema } = base;
      const content: EntryContent = { kind: 'batch', base: { index, term }, schema, now, commands: batch.records };
      const captured = batch;
      const landed = (at: number): void => this.#landed(captured, at);
      const flown = this.#fly(content, landed, items.slice(0, items.length - batch.rest.length), batch.membership);
      if (flown) this.fifo.unshift(batch.rest);
      return flown ? 'gone' : 'later';
    } catch (error) {
      if (error instanceof Spoilt) this.#noteSpoilt(error, failed);
      else if (error instanceof TrialFailed) this.#noteTrial(error, batch?.commands[error.command] as Waiting, failed);
      else if (error instanceof BadMembership) failed.set(batch?.commands[0] as Waiting, fault.invalid(error.message));
      else if (error instanceof DatabaseFull) for (const item of items) failed.set(item, fault.unavailable('No space left for the database'));
      else throw error;
      return 'retake';
    }
  }

  #noteSpoilt({ items, message }: Spoilt, failed: Map<Waiting, Fault>): void {
    for (const item of items) {
      failed.set(item, new Fault('internal', 'Internal error', { detail: message }));
      this.parts.log.error({ command: item.request.name, why: message }, 'a command handler spoilt its batch; the command is refused');
    }
  }

  #noteTrial(error: TrialFailed, item: Waiting, failed: Map<Waiting, Fault>): void {
    failed.set(item, new Fault('internal', 'Internal error', { detail: error.message }));
    this.parts.log.error({ err: error, command: item.request.name }, 'the changeset of a command does not apply; the command is refused');
  }

  #landed(batch: CapturedBatch, index: number): void {
    for (const [n, item] of batch.commands.entries()) item.settle({ kind: 'applied', index, result: batch.records[n]?.result ?? 'null' });
    this.#answer(batch, index);
  }

  #migration(migration: Migration): boolean {
    const { machine, log } = this.parts;
    const { index, term, schema, now } = machine.standing();
    log.info({ migration: migration.name, schema: schema + 1 }, 'migrating the database');
    const content: EntryContent = { kind: 'migration', base: { index, term }, schema, now: Math.max(now, this.parts.clusterNow()), migration };
    const item: Item = { kind: 'migration', migration };
    try {
      const flown = this.#fly(content, () => {}, []);
      if (!flown) this.#again([item]);
      return flown;
    } catch (error) {
      throw new ReplicaStopped(`migration ${migration.name} failed: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Trial and proposal, in one turn. False if there is no place for it now, and nothing is open. */
  #fly(content: EntryContent, landed: (index: number) => void, items: readonly Item[], membership?: readonly MembershipChange[]): boolean {
    const { node, machine, applier, pump } = this.parts;
    const place = node.nextPlace();
    if (!place || place.index !== content.base.index + 1) return false;
    const configuration = membership && this.#configurationOf(membership);
    if (configuration === 'joint') return false;
    const changes = machine.trial({ position: place, base: content.base, content, configuration });
    const data = encodeEntry(content);
    const outcome = membership ? node.proposeConfiguration({ members: membership }, data, place) : node.propose(data, place);
    if (outcome !== 'ok') {
      machine.rollbackTrial();
      if (outcome.refused === 'invalid') throw new BadMembership('why' in outcome ? (outcome.why ?? '') : '');
      return false;
    }
    applier.inFlight({ position: place, content, changes, landed: () => landed(place.index), lost: () => this.#refuse(items) });
    pump();
    return true;
  }

  /** What consensus will make of the change, for the trial. `joint`: the last change is not through yet. @throws BadMembership */
  #configurationOf(membership: readonly MembershipChange[]): Configuration | 'joint' {
    const { configuration } = this.parts.node.status();
    if (configuration.outgoing.length > 0) return 'joint';
    const next = changed(configuration, { members: membership });
    if ('why' in next) throw new BadMembership(next.why);
    return next;
  }

  #endJoint(): boolean {
    const { node, pump } = this.parts;
    const place = node.nextPlace();
    if (!place || node.proposeConfiguration({ leaveJoint: true }, new Uint8Array(), place) !== 'ok') return false;
    this.#leaveJointDue = false;
    pump();
    return true;
  }

  /** Nothing to write: true only if this member was still the leader after the capture. */
  async #answerAsRead(batch: CapturedBatch): Promise<void> {
    try {
      this.#answer(batch, await this.parts.barrier());
    } catch {
      this.#again(batch.answers.map(({ item }) => item));
    }
  }

  #answer(batch: CapturedBatch, index: number): void {
    for (const { item, reply } of batch.answers) item.settle(reply.kind === 'applied' && reply.index === 0 ? { ...reply, index } : reply);
  }

  /** To the front of the queue if this member may still lead, else back to those who asked. */
  #again(items: readonly Item[]): void {
    if (this.parts.node.nextPlace()) this.fifo.unshift(items);
    else this.#refuse(items);
  }

  #refuse(items: readonly Item[]): void {
    for (const item of items) if (item.kind !== 'migration') item.settle({ kind: 'not-leader' });
  }
}

/** Consensus will have nothing of the change that a command asks for. */
class BadMembership extends Error {}
