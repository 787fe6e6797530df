/**
 * One member of the raft profile: raft-ts on the real segmented log, which lies on a fake disk, with a toy for a state machine. It turns the wheel
 * that types.ts of raft-ts describes, in virtual time: what the disk takes, it waits; between any two effects it can be killed.
 */
import { Log, LogDamaged, NoSpace, type Disk, type LogRules } from '#replica/engine';
import {
  BOOTS_KEPT,
  RaftNode,
  defaultTimers,
  noConfiguration,
  type Configuration,
  type ConfigurationChange,
  type Entry,
  type LogStorage,
  type MemberId,
  type Message,
  type Position,
  type Ready,
  type Refusal,
  type Rules,
  type SnapshotMeta,
} from '#raft-ts';
import { Crashed, DiskError, FakeDisk, type DiskImage } from './fake-disk.js';
import { HostClock } from './host-clock.js';
import type { Observed, Observer } from './observer.js';
import type { Plan } from './plan.js';
import type { Random } from './random.js';
import type { HostRules } from './host-rules.js';
import {
  applyEntry,
  decodeState,
  emptyState,
  encodeRequest,
  encodeState,
  hashOf,
  outcomeOf,
  registerOf,
  type ToyRequest,
  type ToyResult,
  type ToyState,
} from './toy-machine.js';
import { EMPTY } from './linearizability.js';
import { require } from './violation.js';
import type { Event, World } from './world.js';

const TICK_MS = 50;
/** Readys under way at once, if the disk works beside. */
const WRITING_MAX = 4;

export type Answer<T> = { readonly value: T } | { readonly refused: true; readonly leader?: MemberId | undefined };

/** What hosts share. */
export interface HostWorld {
  readonly world: World;
  readonly plan: Plan;
  readonly observer: Observer;
  readonly rules: Partial<Rules>;
  readonly hostRules: HostRules;
  readonly diskRules: (disk: Disk) => Disk;
  readonly logRules: Partial<LogRules>;
  readonly hosts: () => ReadonlyMap<MemberId, RaftHost>;
  send(from: MemberId, message: Message): void;
  /** Connections to it are reset. */
  died(member: MemberId): void;
  elected(member: MemberId, term: number): void;
  trace(member: MemberId, what: () => string): void;
  /** A broken rule, or an error nobody expected. */
  failed(error: unknown): void;
}

interface Waiter {
  readonly request: ToyRequest;
  readonly index: number;
  answer(answer: Answer<ToyResult>): void;
}

interface WaitingRead {
  readonly index: number;
  serve(): void;
}

export class RaftHost implements Observed {
  readonly clock: HostClock;
  readonly disk: FakeDisk;
  node: RaftNode | undefined;
  log: Log | undefined;
  state: 'down' | 'up' | 'damaged' | 'gone' = 'down';
  forgetful = false;
  /** Something on its disk is not as it was written, whether it has noticed or not. */
  rotten = false;
  /** Its state machine has stopped, and waits for a snapshot. */
  sick = false;
  paused: { readonly clockStands: boolean } | undefined;
  machine: ToyState;
  incarnation = 0;
  startedMs = 0;
  durableIndex = 0;
  durableVote: { term: number; vote?: MemberId | undefined } = { term: 0 };
  role = 'follower';
  leader: MemberId | undefined;
  lastTickMs = 0;
  starts = 0;
  /** Refused by name, by these. */
  readonly refusals: Refusal[] = [];
  messagesHeard = 0;
  readonly counts = { crashes: 0, snapshots: 0, damaged: 0, torn: 0, reads: 0, stuck: 0, refusals: 0 };

  private readonly shared: HostWorld;
  private readonly random: Random;
  /** Earlier states of the machine, any of which may be what is left after a crash; the first is durable. */
  private past: ToyState[];
  private partial: { readonly meta: SnapshotMeta; bytes: Uint8Array; durableBytes: number } | undefined;
  private snapshot: { readonly meta: SnapshotMeta; readonly bytes: Uint8Array } | undefined;
  /** The file that the log's marker names, once it is durable. */
  private installing: { readonly meta: SnapshotMeta; readonly bytes: Uint8Array } | undefined;
  private inbox: (() => void)[] = [];
  private tickDue = false;
  private blocked = false;
  private writing: Ready[] = [];
  private stuck = false;
  private toApply: Entry[] = [];
  private applyingNow = false;
  private waiters: Waiter[] = [];
  private reads = new Map<number, { readonly needed: number; done(answer: Answer<number>): void }>();
  private waitingReads: WaitingRead[] = [];
  private context = 0;
  /** Term of each entry as handed out by the node, whether written already or not. */
  private terms: (number | undefined)[] = [];
  private crashIn: number | undefined;
  private crashedBy: { downMs: number; power: boolean } | undefined;
  private timers = new Set<Event>();
  private older: 'older' | undefined;
  /** Leader: its commit index when last looked at. */
  private commit = 0;
  private newPeerBoots: Readonly<Record<MemberId, string>> | undefined;

  constructor(
    shared: HostWorld,
    readonly id: MemberId,
    configuration: Configuration,
    random: Random,
  ) {
    this.shared = shared;
    this.random = random;
    this.clock = new HostClock(shared.world, random.below(100_000));
    this.disk = new FakeDisk(
      () => shared.world.nowMs,
      random.fork('disk'),
      (what) => this.effect(what),
    );
    this.machine = emptyState(configuration);
    this.past = [this.machine];
  }

  // — What the observer sees —

  get clockMs(): number {
    return this.clock.nowMs;
  }

  termAt(index: number): number | undefined {
    return this.terms[index];
  }

  lastPosition(): Position {
    return this.node?.status().last ?? { index: 0, term: 0 };
  }

  /** It would answer a read from its lease at this moment. */
  get holdsLease(): boolean {
    if (this.role !== 'leader' || !this.node || this.paused || this.clock.nowMs - this.lastTickMs > defaultTimers.tickGapMs) return false;
    return (this.node.status().leaseUntilMs ?? 0) > this.clock.nowMs;
  }

  // — Life and death —

  start(): void {
    if (this.state !== 'down') return;
    this.state = 'up';
    this.guard(() => {
      try {
        this.open();
      } catch (error) {
        if (error instanceof NoSpace) return this.die({ downMs: 200, power: false });
        if (!(error instanceof LogDamaged)) throw error;
        this.state = 'damaged';
        this.counts.damaged++;
        this.shared.trace(this.id, () => String(error));
      }
    });
  }

  /** Dies after so many effects from now on. */
  crashAfter(effects: number, downMs: number, power: boolean): void {
    if (this.state !== 'up' && this.state !== 'down') return;
    this.crashIn = effects;
    this.crashedBy = { downMs, power };
    // It may have nothing to do.
    this.shared.world.after(300, () => {
      if (this.crashIn !== undefined && this.state === 'up') this.die();
    });
  }

  /** Ends the process at this moment, for good or for a while. */
  die(again?: { readonly downMs: number; readonly power: boolean }): void {
    const { downMs, power } = again ?? this.crashedBy ?? { downMs: 50, power: true };
    this.shared.trace(this.id, () => `dies${power ? ' with its machine' : ''}, back in ${downMs} ms`);
    this.state = 'down';
    this.counts.crashes++;
    this.forget();
    if (power) {
      this.disk.crash();
      this.losePower();
    } else {
      this.disk.kill();
      this.shared.died(this.id);
    }
    this.shared.world.after(downMs, () => this.start());
  }

  /** Ends for ever. */
  end(): void {
    if (this.state === 'up') this.forget();
    this.state = 'gone';
  }

  /** Comes back with nothing, as somebody new under the old name. */
  beginAnew(incarnation: number): void {
    this.shared.trace(this.id, () => `begins anew as incarnation ${incarnation}`);
    if (this.state === 'up') this.forget();
    this.state = 'down';
    this.incarnation = incarnation;
    this.forgetful = false;
    this.refusals.length = 0;
    this.disk.putBack(new Map());
    this.disk.full = false;
    this.machine = emptyState(noConfiguration);
    this.past = [this.machine];
    this.partial = undefined;
    this.installing = undefined;
    this.snapshot = undefined;
    this.start();
  }

  image(): { readonly disk: DiskImage; readonly machine: ToyState } {
    return { disk: this.disk.image(), machine: this.machine };
  }

  /** The disk is what it was then. */
  putBack(image: { readonly disk: DiskImage; readonly machine: ToyState }): void {
    this.shared.trace(this.id, () => 'is put back');
    if (this.state === 'up') this.forget();
    this.state = 'down';
    this.disk.putBack(image.disk);
    this.machine = image.machine;
    this.past = [this.machine];
    this.partial = undefined;
    this.installing = undefined;
    this.forgetful = true;
    this.refusals.length = 0;
    this.messagesHeard = 0;
    this.start();
  }

  pause(clockStands: boolean): void {
    if (this.paused || this.state !== 'up') return;
    this.shared.trace(this.id, () => `pauses${clockStands ? ', and its clock' : ''}`);
    this.paused = { clockStands };
    if (clockStands) this.clock.standStill();
  }

  resume(): void {
    if (!this.paused) return;
    const { clockStands } = this.paused;
    this.shared.trace(this.id, () => 'goes on');
    this.paused = undefined;
    if (clockStands) this.clock.goOn();
    if (this.state !== 'up') return;
    // A leader whose clock stood still learns it from its wall clock, at its first tick. Before that a lease is a leap of faith.
    if (clockStands && this.node && !this.blocked) this.guard(() => this.tick());
    this.drain();
  }

  // — Input —

  receive(message: Message): void {
    this.run(() => {
      this.messagesHeard++;
      this.shared.observer.given(this, message);
      this.node?.step(message, this.clock.nowMs);
      this.watchCommit();
    });
  }

  unreachable(peer: MemberId): void {
    this.run(() => this.node?.peerUnreachable(peer, this.clock.nowMs));
  }

  submit(request: ToyRequest, answer: (answer: Answer<ToyResult>) => void): void {
    this.run(() => {
      const known = this.machine.last[request.client];
      if (known && known.number >= request.number && !this.shared.hostRules.forgetsRequests) {
        // Its answer stands in the machine; only whoever leads knows that it will stay there, but it is committed.
        if (known.number === request.number) answer({ value: known.result });
        else answer({ refused: true });
        return;
      }
      const { node } = this;
      const place = node?.nextPlace();
      if (!node || !place) return answer({ refused: true, leader: this.leader });
      if (!outcomeOf(this.machine, request).done && this.random.chance(0.5)) return this.refuse(request, answer);
      if (node.propose(encodeRequest(request), place) !== 'ok') return answer({ refused: true, leader: this.leader });
      this.waiters.push({ request, answer, index: place.index });
      // As if a spare waited for it.
      if (this.random.chance(0.1)) node.expectCommit(this.random.pick([...this.shared.hosts().keys()]), place.index);
    });
  }

  /** What a compare-and-swap would find, of a state that is no older than the question. */
  read(key: number, answer: (answer: Answer<number>) => void): void {
    this.run(() => this.barrier((ready) => answer('refused' in ready ? ready : { value: registerOf(this.machine, key) })));
  }

  change(change: ConfigurationChange): boolean {
    let done = false;
    this.run(() => {
      const place = this.node?.nextPlace();
      if (!place) return;
      const result = this.node?.proposeConfiguration(change, new Uint8Array(0), place);
      done = result === 'ok';
      this.shared.trace(this.id, () => `proposes ${JSON.stringify(change)}: ${JSON.stringify(result)}`);
    });
    return done;
  }

  transfer(): boolean {
    let done = false;
    this.run(() => (done = this.node?.transferLeadership(this.clock.nowMs) ?? false));
    return done;
  }

  setPromotable(yes: boolean): void {
    this.older = yes ? undefined : 'older';
    this.run(() => this.node?.setPromotable(yes && !this.stuck, this.clock.nowMs));
  }

  /** The state machine cannot go on: the member votes and acknowledges, does not lead, and asks for a snapshot. */
  fallSick(): void {
    this.run(() => {
      if (!this.node || this.sick) return;
      this.shared.trace(this.id, () => `falls sick at ${this.machine.index}`);
      this.sick = true;
      this.toApply = [];
      this.node.setPromotable(false, this.clock.nowMs);
      this.node.requestSnapshot(this.machine.index + 1);
    });
  }

  /** Drops the front of the log. `hard`: also what a transfer still needs. */
  compact(hard: boolean): void {
    this.run(() => {
      const { log, node } = this;
      if (!log || !node || this.writing.length > 0) return;
      if (this.random.chance(0.7)) this.makeDurable();
      const durable = this.past[0]?.index ?? 0;
      const pinned = hard ? Infinity : (node.pinnedIndex() ?? Infinity) - 1;
      const upTo = Math.min(this.shared.hostRules.compactUpTo(durable, this.machine.index), pinned);
      if (upTo < log.firstIndex()) return;
      require((this.past[0]?.index ?? 0) >= upTo, 'the log is compacted up to what the replica has durably', () => `${this.id} at ${upTo}`);
      this.shared.trace(this.id, () => `compacts up to ${upTo}`);
      this.rare();
      try {
        log.compact(upTo);
      } catch (error) {
        if (!(error instanceof NoSpace)) throw error;
      }
      this.waitForDisk();
    });
  }

  // — Inside: a process —

  private open(): void {
    const { shared, random } = this;
    const log = Log.open(shared.diskRules(this.disk), { segmentBytes: shared.plan.segmentBytes, rules: shared.logRules });
    if (log.tornBytes > 0) this.counts.torn++;
    const boots = [...log.state.boots, `${this.id}-${++this.starts}`].slice(-BOOTS_KEPT);
    log.append({ boots, identity: { cluster: 'sim', member: this.id, incarnation: this.incarnation } });
    this.finishInstall(log);
    this.log = log;
    this.blocked = true;
    this.later(this.disk.busyUntilMs, () => {
      const { hardState } = log.state;
      this.durableIndex = log.lastIndex();
      this.durableVote = hardState;
      this.terms = [];
      for (let index = log.firstIndex() - 1; index <= log.lastIndex(); index++) this.terms[index] = log.term(index);
      this.startedMs = this.clock.nowMs;
      this.lastTickMs = this.clock.nowMs;
      shared.observer.started(this);
      if (!this.forgetful) shared.observer.recovered(this, log.entries(Math.max(log.firstIndex(), log.lastIndex() - 20), log.lastIndex(), Infinity));
      shared.trace(
        this.id,
        () => `starts in term ${hardState.term} with entries ${log.firstIndex()}–${log.lastIndex()}, applied ${this.machine.index}`,
      );
      this.node = new RaftNode({
        identity: { cluster: 'sim', member: this.id, incarnation: this.incarnation, boots },
        hardState,
        applied: { index: this.machine.index, configuration: this.machine.configuration },
        storage: shared.hostRules.forgetsLastEntry ? withoutLast(log) : log,
        snapshots: {
          latest: () => this.snapshot?.meta,
          read: (meta, offset, maxBytes) => this.readSnapshot(meta, offset, maxBytes),
        },
        startMs: this.clock.nowMs,
        random: () => random.next(),
        leases: shared.plan.leases,
        promotable: this.older === undefined,
        peerBoots: log.state.peerBoots,
        limits: {
          chunkBytes: shared.plan.chunkBytes,
          chunksInflight: 3,
          appendBytes: shared.plan.appendBytes,
          spareAppendBytes: 2 * shared.plan.appendBytes,
          inflightBytes: 8 * shared.plan.appendBytes,
          committedBytes: 600,
        },
        ...(shared.plan.hastyElections && { timers: { electionMinMs: 150, electionMaxMs: 600 } }),
        rules: shared.rules,
        ...(this.partial && { partialSnapshot: { meta: this.partial.meta, receivedBytes: this.partial.bytes.length } }),
      });
      this.blocked = false;
      this.scheduleTick();
      this.drain();
    });
  }

  /** A snapshot whose marker stands in the log goes into the machine before anything else. */
  private finishInstall(log: Log): void {
    const { marker } = log.state;
    if (!marker) return;
    if (this.machine.index < marker.index) {
      const file = this.installing;
      require(file?.meta.index === marker.index, 'a snapshot is durable before the log is dropped for it', () => `${this.id} at ${marker.index}`);
      this.machine = decodeState((file as NonNullable<typeof file>).bytes);
      this.past = [this.machine];
      this.shared.observer.installed(this, this.machine);
    }
    log.append({ marker: null });
    this.installing = undefined;
  }

  private forget(): void {
    this.node = undefined;
    this.log = undefined;
    this.crashIn = undefined;
    this.crashedBy = undefined;
    this.sick = false;
    this.paused = undefined;
    this.clock.goOn();
    this.blocked = false;
    this.stuck = false;
    this.inbox = [];
    this.tickDue = false;
    this.writing = [];
    this.toApply = [];
    this.applyingNow = false;
    this.waiters = [];
    this.reads.clear();
    this.waitingReads = [];
    this.role = 'follower';
    this.leader = undefined;
    this.newPeerBoots = undefined;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
    if (this.random.chance(0.3)) this.snapshot = undefined;
  }

  private losePower(): void {
    this.machine = this.random.pick(this.past);
    this.past = [this.past[0] as ToyState, this.machine];
    const { partial } = this;
    if (partial) partial.bytes = partial.bytes.slice(0, partial.durableBytes + this.random.below(partial.bytes.length - partial.durableBytes + 1));
    if (this.installing && !this.shared.hostRules.syncsSnapshots && this.random.chance(0.5)) this.installing = undefined;
  }

  /** Something is about to change that others, or a later start, can see. */
  private effect(what: string): void {
    if (this.crashIn === undefined) return;
    if (this.crashIn-- <= 0) throw new Crashed(what);
  }

  private run(task: () => void): void {
    if (!this.node && !this.blocked) return;
    if (this.blocked || this.paused) {
      this.inbox.push(task);
      return;
    }
    this.guard(() => {
      task();
      this.pump();
    });
  }

  private guard(task: () => void): void {
    try {
      task();
    } catch (error) {
      if (this.state !== 'up') return;
      if (error instanceof Crashed) return this.die();
      // The log is broken, and the process with it. What it did not sync may be lost.
      if (error instanceof DiskError) return this.die(this.crashedBy ?? { downMs: 30, power: true });
      if (error instanceof LogDamaged) {
        this.shared.trace(this.id, () => String(error));
        this.counts.damaged++;
        this.forget();
        this.state = 'damaged';
        return;
      }
      this.shared.failed(error);
    }
  }

  private later(timeMs: number, task: () => void): void {
    const timer: Event = this.shared.world.at(timeMs, () => {
      this.timers.delete(timer);
      this.guard(task);
    });
    this.timers.add(timer);
  }

  private drain(): void {
    while (this.inbox.length > 0 && !this.blocked && !this.paused && this.state === 'up') {
      const tasks = this.inbox;
      this.inbox = [];
      // What came in is looked at before anything is done about it, as after any stall.
      this.guard(() => {
        for (const task of tasks) task();
        if (this.tickDue) this.tick();
        this.pump();
      });
    }
    if (this.tickDue && !this.blocked && !this.paused && this.node) this.guard(() => (this.tick(), this.pump()));
  }

  private scheduleTick(): void {
    this.later(this.shared.world.nowMs + this.clock.trueMs(TICK_MS), () => {
      this.scheduleTick();
      if (this.blocked || this.paused) this.tickDue = true;
      else {
        this.tick();
        this.pump();
      }
    });
  }

  private tick(): void {
    this.tickDue = false;
    const { node, log } = this;
    if (!node || !log) return;
    this.lastTickMs = this.clock.nowMs;
    node.tick(this.clock.nowMs, this.clock.realMs);
    if (this.stuck) return this.unstick();
    if (this.writing.length > 0) return;
    try {
      log.prepareNext();
    } catch (error) {
      if (!(error instanceof NoSpace)) throw error;
    }
    this.waitForDisk();
    const entries = log.lastIndex() - log.firstIndex();
    if (entries > this.shared.plan.compactEntries && this.random.chance(0.2)) this.later(this.shared.world.nowMs, () => this.compact(false));
  }

  /** The log is synchronous: what the disk takes, everybody waits. */
  private waitForDisk(): void {
    if (this.disk.busyUntilMs <= this.shared.world.nowMs || this.shared.plan.asyncDisk || this.blocked) return;
    this.blocked = true;
    this.later(this.disk.busyUntilMs, () => {
      this.blocked = false;
      this.drain();
      this.guard(() => this.pump());
    });
  }

  // — Inside: the wheel —

  private pump(): void {
    const { node } = this;
    while (node && node === this.node && node.hasReady() && !this.stuck && !this.blocked) {
      if (this.writing.length >= (this.shared.plan.asyncDisk ? WRITING_MAX : 1)) return;
      const ready = node.ready();
      this.note(ready);
      this.shared.observer.ready(this, ready);
      for (const message of ready.messagesNow) this.say(message);
      if (this.shared.plan.asyncDisk) this.deliver(ready);
      this.writing.push(ready);
      if (this.writing.length === 1) this.write();
    }
  }

  private note(ready: Ready): void {
    if (ready.role !== this.role || ready.leader !== this.leader) {
      this.shared.trace(this.id, () => `${ready.role} in term ${ready.term}, leader ${ready.leader ?? 'unknown'}`);
    }
    if (ready.role === 'leader' && this.role !== 'leader') {
      this.commit = this.node?.status().commit ?? 0;
      this.shared.elected(this.id, ready.term);
      this.rare();
    }
    if (ready.entries.some(({ type }) => type === 'configuration')) this.rare();
    this.role = ready.role;
    this.leader = ready.leader;
    for (const refusal of ready.refusals) {
      this.counts.refusals++;
      this.shared.trace(this.id, () => `${refusal.by} refuses ${refusal.member}: ${refusal.reason}`);
      this.refusals.push(refusal);
    }
    if (ready.peerBoots) this.newPeerBoots = ready.peerBoots;
    const { snapshot } = ready;
    // What was committed before the snapshot's place is in it.
    if (snapshot) this.toApply = this.toApply.filter(({ index }) => index > snapshot.meta.index);
    if (snapshot?.replaces === 'everything') {
      require(snapshot.meta.index > this.machine.index, 'a snapshot never takes back what was applied', () => `${this.id} at ${this.machine.index}`);
      this.terms = [];
      this.terms[snapshot.meta.index] = snapshot.meta.term;
    }
    for (const entry of ready.entries) {
      this.terms.length = entry.index;
      this.terms.push(entry.term);
    }
  }

  /** One batch. */
  private write(): void {
    const ready = this.writing[0];
    const { log } = this;
    if (!ready || !log) return;
    const beganMs = this.clock.nowMs;
    try {
      if (ready.snapshotChunk) this.store(ready.snapshotChunk);
      if (ready.mustPersist) this.append(log, ready);
    } catch (error) {
      if (!(error instanceof NoSpace)) throw error;
      this.shared.trace(this.id, () => 'has no space');
      this.stuck = true;
      this.counts.stuck++;
      this.node?.setPromotable(false, this.clock.nowMs);
      return;
    }
    this.stuck = false;
    if (this.disk.busyUntilMs <= this.shared.world.nowMs) return this.written(ready, 0);
    this.blocked = !this.shared.plan.asyncDisk;
    this.later(this.disk.busyUntilMs, () => {
      this.blocked = false;
      // A process that is stopped is not told that its sync has ended.
      if (this.paused) this.inbox.push(() => this.written(ready, this.clock.nowMs - beganMs));
      else this.written(ready, this.clock.nowMs - beganMs);
      this.drain();
      this.guard(() => this.pump());
    });
  }

  private unstick(): void {
    this.write();
    if (!this.stuck) this.node?.setPromotable(this.older === undefined, this.clock.nowMs);
  }

  private append(log: Log, ready: Ready): void {
    const { snapshot, entries } = ready;
    if (snapshot) {
      const { partial } = this;
      require(partial?.meta.hash === snapshot.meta.hash, 'what is installed is the file that came');
      this.installing = { meta: snapshot.meta, bytes: (partial as NonNullable<typeof partial>).bytes };
    }
    const first = entries[0];
    // Until the batch is durable, a crash leaves what was before it, or what it leaves: count on the less.
    if (first) this.durableIndex = Math.min(this.durableIndex, first.index - 1);
    if (first) this.shared.observer.appended(this, entries, this.terms[first.index - 1] ?? 0);
    log.append({
      ...(snapshot && { marker: { ...snapshot.meta, file: 'snapshot' } }),
      ...(snapshot?.replaces === 'everything' && { reset: { index: snapshot.meta.index, term: snapshot.meta.term } }),
      ...(ready.hardState && { hardState: ready.hardState }),
      ...(this.newPeerBoots && { peerBoots: this.newPeerBoots }),
      entries,
    });
    this.newPeerBoots = undefined;
  }

  /** The batch is durable. */
  private written(ready: Ready, tookMs: number): void {
    const { node, log } = this;
    if (!node || !log) return;
    this.writing.shift();
    if (ready.snapshot?.replaces === 'everything') this.durableIndex = ready.snapshot.meta.index;
    const last = ready.entries.at(-1);
    if (last) this.durableIndex = last.index;
    if (ready.hardState) this.durableVote = ready.hardState;
    if (this.partial) this.partial.durableBytes = this.partial.bytes.length;
    if (this.random.chance(0.5)) {
      for (const message of ready.messagesAfterPersist) this.say(message);
      node.persisted(ready.upTo);
      this.watchCommit();
    } else {
      node.persisted(ready.upTo);
      this.watchCommit();
      for (const message of ready.messagesAfterPersist) this.say(message);
    }
    if (ready.mustPersist) node.logWriteTook(tookMs, this.clock.nowMs);
    if (ready.snapshot) this.rare();
    if (ready.snapshot) this.installSoon(node, log, ready.snapshot.meta);
    if (!this.shared.plan.asyncDisk) this.deliver(ready);
    const chunk = ready.snapshotChunk;
    if (chunk?.last) node.snapshotReceived(chunk.meta, hashOf(this.partial?.bytes ?? new Uint8Array()) === chunk.meta.hash);
    if (this.writing.length > 0) this.write();
  }

  private say(message: Message): void {
    this.effect('send');
    this.shared.observer.said(this, message);
    this.shared.send(this.id, message);
  }

  /** What needs no disk: entries to apply, answers to reads, what the leader asks for. */
  private deliver(ready: Ready): void {
    if (ready.committed.length > 0 && !this.sick) {
      this.toApply.push(...ready.committed);
      this.applySome(ready.term);
    }
    for (const state of ready.readStates) {
      const read = this.reads.get(state.context);
      require(read !== undefined, 'a read is answered once');
      this.reads.delete(state.context);
      if ('refused' in state) read?.done({ refused: true, leader: this.leader });
      else {
        require(state.index >= (read?.needed ?? 0), 'a read sees what was applied anywhere before it', () =>
          `${this.id} may read at ${state.index}, ${read?.needed} was applied`);
        this.counts.reads++;
        this.waitingReads.push({ index: state.index, serve: () => read?.done({ value: state.index }) });
      }
    }
    this.serveReads();
    if (ready.snapshotWanted !== undefined) this.later(this.shared.world.nowMs + this.random.skewed(0, 50), () => this.takeSnapshot());
    if (ready.leaveJointDue) {
      const place = this.node?.nextPlace();
      if (place) this.node?.proposeConfiguration({ leaveJoint: true }, new Uint8Array(0), place);
    }
  }

  private applySome(term: number): void {
    const { applyMs } = this.shared.plan;
    if (applyMs === 0) {
      while (this.toApply.length > 0) this.applyOne(this.toApply.shift() as Entry, term);
      return;
    }
    if (this.applyingNow || this.toApply.length === 0) return;
    this.applyingNow = true;
    this.later(this.shared.world.nowMs + applyMs, () => {
      this.applyingNow = false;
      this.run(() => {
        const entry = this.toApply.shift();
        if (entry) this.applyOne(entry, term);
        this.applySome(term);
      });
    });
  }

  private applyOne(entry: Entry, term: number): void {
    this.effect('apply');
    this.shared.observer.applied(this, entry, this.machine, term);
    this.machine = applyEntry(this.machine, entry, this.shared.hostRules.forgetsRequests);
    this.past.push(this.machine);
    if (this.past.length > 30) this.past.shift();
    this.node?.applied(entry.index);
    this.settle();
    this.serveReads();
  }

  /** A leader's commit index has risen: what it counts is what the disks have, not what anybody believes. To be called after every input. */
  private watchCommit(): void {
    if (this.role !== 'leader' || !this.node) return;
    const { role, term, commit, configuration } = this.node.status();
    if (role !== 'leader' || commit <= this.commit) return;
    this.commit = commit;
    const entryTerm = this.terms[commit];
    require(entryTerm === undefined || entryTerm === term, 'only entries of the own term are committed by counting', () =>
      `${this.id} in term ${term}, entry ${commit} of term ${entryTerm}`);
    for (const group of [configuration.voters, configuration.outgoing]) {
      const have = group.filter((id) => this.shared.hosts().get(id)?.hasDurably(commit, term) ?? true);
      require(group.length === 0 || have.length > group.length / 2, 'what is committed is durable on a majority', () =>
        `entry ${commit} on ${have.join()} of ${group.join()}`);
    }
  }

  /** Something happened that seldom happens: a good moment to die. */
  private rare(): void {
    const { plan, world } = this.shared;
    if (plan.rareCrash === 0 || world.nowMs > plan.durationMs || !this.random.chance(plan.rareCrash)) return;
    this.crashAfter(this.random.below(6), this.random.skewed(0, 2_000), this.random.chance(0.8));
  }

  hasDurably(index: number, term: number): boolean {
    // One that lost its disk has had it.
    if (this.state === 'damaged' || this.state === 'gone' || this.incarnation > 0 || this.forgetful) return true;
    return this.durableIndex >= index && (this.terms[index] ?? term) === term;
  }

  /** By the request's own number, never by where its entry was meant to stand. */
  private settle(): void {
    const { settlesByIndex } = this.shared.hostRules;
    this.waiters = this.waiters.filter(({ request, answer, index }) => {
      if (settlesByIndex && index <= this.machine.index) {
        answer({ value: { done: true, found: request.expected ?? EMPTY } });
        return false;
      }
      const last = this.machine.last[request.client];
      if (!last || last.number < request.number) return true;
      if (last.number === request.number) answer({ value: last.result });
      return false;
    });
  }

  private serveReads(): void {
    if (this.waitingReads.length === 0) return;
    const due = this.waitingReads.filter(({ index }) => index <= this.machine.index);
    if (due.length === 0) return;
    this.waitingReads = this.waitingReads.filter(({ index }) => index > this.machine.index);
    for (const { serve } of due) serve();
  }

  /** A compare-and-swap that fails is a read: true only of a state that is proven fresh after it was asked. */
  private refuse(request: ToyRequest, answer: (answer: Answer<ToyResult>) => void): void {
    const { hostRules } = this.shared;
    if (!hostRules.refusalNeedsRound) return answer({ value: outcomeOf(this.machine, request) });
    this.barrier((ready) => {
      if ('refused' in ready) return answer(ready);
      // An earlier attempt may have got through meanwhile: then it is no refusal.
      if ((this.machine.last[request.client]?.number ?? 0) >= request.number) return answer({ refused: true, leader: this.leader });
      const outcome = outcomeOf(this.machine, request);
      // Not any more: it has to be asked again.
      answer(outcome.done ? { refused: true, leader: this.leader } : { value: outcome });
    });
  }

  private barrier(done: (answer: Answer<number>) => void): void {
    const context = ++this.context;
    this.reads.set(context, { needed: this.shared.observer.highestApplied, done });
    this.node?.readIndex(context, this.clock.nowMs);
  }

  // — Inside: snapshots —

  /** Undefined if it is gone. */
  private readSnapshot(meta: SnapshotMeta, offset: number, maxBytes: number): Uint8Array | undefined {
    const { snapshot } = this;
    return snapshot?.meta.index === meta.index && snapshot.meta.hash === meta.hash ? snapshot.bytes.slice(offset, offset + maxBytes) : undefined;
  }

  private makeDurable(): void {
    this.effect('make durable');
    this.past = [this.machine];
  }

  private takeSnapshot(): void {
    const { node, machine } = this;
    if (!node) return;
    this.effect('snapshot');
    const configuration = this.shared.hostRules.snapshotConfiguration(machine.configuration, node.status().configuration);
    const bytes = encodeState({ ...machine, configuration }, this.shared.plan.snapshotBytes);
    this.snapshot = { meta: { index: machine.index, term: machine.term, configuration, sizeBytes: bytes.length, hash: hashOf(bytes) }, bytes };
    this.shared.trace(this.id, () => `takes a snapshot at ${machine.index}`);
  }

  private store({ meta, offset, data }: NonNullable<Ready['snapshotChunk']>): void {
    this.effect('chunk');
    const before = offset === 0 ? new Uint8Array(0) : (this.partial?.bytes ?? new Uint8Array(0));
    require(before.length === offset, 'chunks join', () => `${before.length} and ${offset}`);
    const bytes = new Uint8Array(offset + data.length);
    bytes.set(before);
    bytes.set(data, offset);
    this.partial = { meta, bytes, durableBytes: offset === 0 ? 0 : (this.partial?.durableBytes ?? 0) };
  }

  private installSoon(node: RaftNode, log: Log, meta: SnapshotMeta): void {
    const { installMs } = this.shared.plan;
    if (installMs === 0) this.install(node, log, meta);
    else this.later(this.shared.world.nowMs + installMs, () => this.run(() => this.install(node, log, meta)));
  }

  private install(node: RaftNode, log: Log, meta: SnapshotMeta): void {
    this.effect('install');
    this.machine = decodeState((this.installing as NonNullable<typeof this.installing>).bytes);
    this.shared.observer.installed(this, this.machine);
    this.past = [this.machine];
    this.counts.snapshots++;
    this.shared.trace(this.id, () => `installs a snapshot at ${meta.index}`);
    this.effect('installed');
    node.applied(meta.index);
    this.sick = false;
    node.setPromotable(this.older === undefined && !this.stuck, this.clock.nowMs);
    try {
      log.append({ marker: null });
    } catch (error) {
      // The marker stays, and does no harm: the next start finds that it is done.
      if (!(error instanceof NoSpace)) throw error;
    }
    this.installing = undefined;
    this.partial = undefined;
    this.settle();
    this.serveReads();
  }
}

/** The log without its last entry, as long as nothing is written behind it: for a mutation. */
function withoutLast(log: Log): LogStorage {
  const last = log.lastIndex();
  const missing = (): number => (last >= log.firstIndex() && log.lastIndex() === last ? 1 : 0);
  return {
    firstIndex: () => log.firstIndex(),
    lastIndex: () => log.lastIndex() - missing(),
    term: (index) => (index > log.lastIndex() - missing() ? undefined : log.term(index)),
    entries: (from, to, maxBytes) => log.entries(from, Math.min(to, log.lastIndex() - missing()), maxBytes),
  };
}
