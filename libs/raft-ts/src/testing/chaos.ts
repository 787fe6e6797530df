/**
 * Chaos by seed: members whose messages are lost, doubled and reordered, whose disks write late and in the background, who crash between any
 * two effects and come back with an older state machine, while entries, reads, configurations and transfers go on. After every step the
 * invariants of Raft are checked; at the end the network heals, and everybody must agree and get on with it.
 *
 * The whole simulator, with clocks that drift and disks that rot, stands in libs/testkit; this is the part that raft-ts can carry alone.
 */
import {
  MemoryStorage,
  RaftNode,
  membersOf,
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
import { hashOf } from './member.js';

/** How often, of about a thousand steps, or of a hundred messages. */
export interface Strength {
  readonly lossPercent: number;
  readonly doublePercent: number;
  readonly crashes: number;
  readonly cuts: number;
  readonly changes: number;
  readonly transfers: number;
  readonly compactions: number;
  /** Pauses, and as often something that a host says: not promotable, connection broken, state machine stopped. */
  readonly pauses: number;
  readonly slowDisks: boolean;
  readonly leases: boolean;
}

interface Machine {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
  readonly digest: string;
}

export class Violation extends Error {}

const check = (condition: boolean, what: string): void => {
  if (!condition) throw new Violation(what);
};

/** Mulberry32: small, good enough, and the same everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Host implements SnapshotSource {
  node: RaftNode | undefined;
  readonly storage = new MemoryStorage();
  hardState: HardState = { term: 0, commit: 0 };
  boots: string[] = [];
  machine: Machine;
  /** Earlier states of the machine, any of which may be what is left after a crash. */
  past: Machine[];
  partial: { meta: SnapshotMeta; bytes: Uint8Array } | undefined;
  writing: Ready[] = [];
  snapshot: { meta: SnapshotMeta; bytes: Uint8Array } | undefined;
  reads = new Map<number, number>();
  waiting: { context: number; index: number }[] = [];
  /** No vote before that, but for the term of the leader who got the promise. */
  promisedMs = 0;
  promisedTerm = 0;
  /** When a leader's message of that sender, term and round came last. */
  given = new Map<string, number>();
  /** Its clock stands behind the true time by so much: it was paused, and its clock with it. */
  lagMs = 0;
  paused: { readonly sinceMs: number; readonly untilMs: number; readonly clockStops: boolean } | undefined;

  constructor(
    readonly id: MemberId,
    configuration: Configuration,
  ) {
    this.machine = { index: 0, term: 0, configuration, digest: '' };
    this.past = [this.machine];
  }

  latest(): SnapshotMeta | undefined {
    return this.snapshot?.meta;
  }

  read(meta: SnapshotMeta, offset: number, maxBytes: number): Uint8Array | undefined {
    return meta.hash === this.snapshot?.meta.hash && meta.index === this.snapshot.meta.index
      ? this.snapshot.bytes.slice(offset, offset + maxBytes)
      : undefined;
  }
}

export class Chaos {
  readonly hosts = new Map<MemberId, Host>();
  nowMs = 0;
  private pool: Message[] = [];
  /** Links whose messages are lost, and links where they wait. */
  private readonly cut = new Set<string>();
  private readonly slow = new Set<string>();
  /** Terms in which a leader asked for the election: promises do not hold there. */
  private readonly handedOver = new Set<number>();
  private readonly leaders = new Map<number, MemberId>();
  /** What was applied anywhere, by index: everybody must apply the same. */
  private readonly agreed: string[] = [];
  private readonly agreedTerm: number[] = [];
  private readonly roles = new Map<MemberId, string>();
  private readonly random: () => number;
  private count = 0;
  private nextMember = 6;
  readonly stats = { proposed: 0, applied: 0, reads: 0, elections: 0, snapshots: 0, changes: 0, transfers: 0 };

  constructor(
    seed: number,
    private readonly strength: Strength,
    private readonly options: Partial<RaftOptions> = {},
  ) {
    this.random = seeded(seed);
    const size = this.pick([1, 2, 3, 3, 3, 4, 5, 5])!;
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    for (const id of voters) this.hosts.set(id, new Host(id, { ...noConfiguration, voters }));
    for (const host of this.hosts.values()) this.start(host);
  }

  play(steps: number): void {
    for (let i = 0; i < steps; i++) this.step();
    this.heal();
  }

  // — Steps —

  private step(): void {
    const host = this.pick([...this.hosts.values()])!;
    const { strength } = this;
    const kinds: [number, () => void][] = [
      [strength.crashes, () => (host.node ? this.crash(host) : this.start(host))],
      [strength.crashes, () => this.restart(host)],
      [strength.cuts, () => this.cutOrMend()],
      [strength.changes, () => this.change()],
      [strength.transfers, () => this.transfer()],
      [strength.compactions, () => this.compact(host)],
      [strength.pauses, () => this.pause(host)],
      [strength.pauses, () => this.trouble(host)],
      [10, () => (host.node ? undefined : this.start(host))],
      [60, () => this.propose()],
      [30, () => this.read(host)],
      [10, () => this.read(this.leader(true) ?? host)],
      [250, () => this.tick(host)],
      [350, () => this.deliverSome()],
      [250, () => this.turn(host)],
    ];
    let roll = this.below(kinds.reduce((sum, [weight]) => sum + weight, 0));
    kinds.find(([weight]) => (roll -= weight) < 0)![1]();
    this.invariants();
  }

  private tick(host: Host): void {
    this.nowMs += this.below(30);
    if (this.isAwake(host)) host.node?.tick(this.clock(host), this.nowMs);
  }

  private clock(host: Host): number {
    return (host.paused?.clockStops ? host.paused.sinceMs : this.nowMs) - host.lagMs;
  }

  private isAwake(host: Host): boolean {
    if (host.paused && this.nowMs >= host.paused.untilMs) this.wake(host);
    return !host.paused;
  }

  /** SIGSTOP, or a virtual machine that is put to sleep with its clock. */
  private pause(host: Host): void {
    if (this.isAwake(host)) host.paused = { sinceMs: this.nowMs, untilMs: this.nowMs + this.below(2_000), clockStops: this.below(2) === 0 };
  }

  private wake(host: Host): void {
    if (host.paused?.clockStops) host.lagMs += this.nowMs - host.paused.sinceMs;
    host.paused = undefined;
  }

  private transfer(): void {
    const leader = this.leader();
    if (leader?.node!.transferLeadership(this.clock(leader))) this.stats.transfers++;
  }

  /** What hosts say about themselves and their connections. */
  private trouble(host: Host): void {
    const { node } = host;
    if (!node || !this.isAwake(host)) return;
    const peer = this.pick([...this.hosts.keys()])!;
    const what = this.below(5);
    if (what === 0) node.setPromotable(this.below(2) === 0, this.clock(host));
    else if (what === 1) node.requestSnapshot(this.below(host.machine.index + 1));
    else if (what === 2) node.peerUnreachable(peer, this.clock(host));
    else if (what === 3) node.logWriteTook(400, this.clock(host));
    else node.expectCommit(peer, host.machine.index + 1);
  }

  private restart(host: Host): void {
    if (!this.isAwake(host)) return;
    this.crash(host);
    this.start(host);
  }

  private crash(host: Host): void {
    host.node = undefined;
    host.writing = [];
    host.waiting = [];
    host.reads.clear();
    host.snapshot = undefined;
    const left = host.past.filter((m) => m.index >= host.storage.firstIndex() - 1 && m.index <= host.storage.lastIndex());
    if (left.length > 0) host.machine = this.pick(left)!;
    this.roles.delete(host.id);
  }

  private start(host: Host): void {
    host.boots = [...host.boots, `${host.id}-${host.boots.length}`].slice(-64);
    host.node = new RaftNode({
      identity: { cluster: 'chaos', member: host.id, incarnation: 0, boots: host.boots },
      hardState: host.hardState,
      applied: { index: host.machine.index, configuration: host.machine.configuration },
      storage: host.storage,
      snapshots: host,
      startMs: this.clock(host),
      random: this.random,
      leases: this.strength.leases,
      limits: { chunkBytes: 64, chunksInflight: 3, appendBytes: 40, spareAppendBytes: 80, inflightBytes: 400, committedBytes: 100, tailBytes: 200 },
      ...(host.partial && { partialSnapshot: { meta: host.partial.meta, receivedBytes: host.partial.bytes.length } }),
      ...this.options,
    });
    host.promisedMs = this.clock(host) + 500;
    host.promisedTerm = 0;
  }

  private propose(): void {
    const { node } = this.leader() ?? {};
    const place = node?.nextPlace();
    if (place && node!.propose(new TextEncoder().encode(`v${++this.count}`), place) === 'ok') this.stats.proposed++;
  }

  private read(host: Host): void {
    if (!host.node || !this.isAwake(host)) return;
    // A host whose clock stood still notices at its first tick; before that, a lease is a leap of faith, which is why they are optional.
    if (this.strength.leases && host.lagMs > 0) host.node.tick(this.clock(host), this.nowMs);
    const context = ++this.count;
    // Whatever anybody has applied by now, this read must see.
    host.reads.set(context, this.agreed.length - 1);
    host.node.readIndex(context, this.clock(host));
  }

  private change(): void {
    const { node } = this.leader() ?? {};
    const place = node?.nextPlace();
    if (!node || !place) return;
    const { configuration } = node.status();
    const nothing = new Uint8Array(0);
    if (configuration.outgoing.length > 0) {
      if (node.proposeConfiguration({ leaveJoint: true }, nothing, place) === 'ok') this.stats.changes++;
      return;
    }
    const known = membersOf(configuration);
    const roles = ['voter', 'learner', 'spare'] as const;
    const members: { id: number; role: 'voter' | 'learner' | 'spare' | 'removed' }[] = [];
    for (let n = 1 + this.below(2); n > 0; n--) {
      if (known.length < 4 && this.nextMember < 12) {
        const id = this.nextMember++;
        const host = new Host(id, noConfiguration);
        this.hosts.set(id, host);
        this.start(host);
        members.push({ id, role: this.pick(roles)! });
      } else {
        const id = this.pick(known)!;
        members.push({ id, role: known.length > 3 && this.below(4) === 0 ? 'removed' : this.pick(roles)! });
      }
    }
    if (node.proposeConfiguration({ members, joint: this.below(2) === 0 }, nothing, place) === 'ok') this.stats.changes++;
  }

  private compact(host: Host): void {
    if (!host.node) return;
    this.takeSnapshot(host);
    // The machine is made durable before: nothing older may be left after a crash.
    host.past = [host.machine];
    const pinned = host.node.pinnedIndex() ?? Infinity;
    host.storage.compact(Math.min(host.machine.index, this.below(2) === 0 ? pinned - 1 : Infinity));
  }

  private takeSnapshot(host: Host): void {
    const bytes = new TextEncoder().encode(JSON.stringify(host.machine));
    const { index, term, configuration } = host.machine;
    host.snapshot = { meta: { index, term, configuration, sizeBytes: bytes.length, hash: hashOf(bytes) }, bytes };
  }

  private cutOrMend(): void {
    this.cut.clear();
    this.slow.clear();
    if (this.below(3) === 0) return;
    const links = this.below(2) === 0 ? this.cut : this.slow;
    const ids = [...this.hosts.keys()];
    const a = this.leader()?.id ?? this.pick(ids)!;
    const whole = this.below(2) === 0;
    for (const b of ids) {
      if (whole || this.below(2) === 0) links.add(`${a}>${b}`);
      if (whole || this.below(2) === 0) links.add(`${b}>${a}`);
    }
  }

  /** More than are sent on the average, or the network would be one long queue. */
  private deliverSome(): void {
    for (let n = this.below(8); n > 0; n--) this.deliver();
  }

  private deliver(): void {
    // Mostly in order, as a stream would; sometimes not.
    const at = this.below(10) === 0 ? this.below(this.pool.length) : this.below(Math.min(this.pool.length, 4));
    const [message] = this.pool.splice(at, 1);
    if (!message) return;
    const link = `${message.from}>${message.to}`;
    const host = this.hosts.get(message.to);
    if (this.slow.has(link) || (host && !this.isAwake(host))) {
      if (this.pool.length < 200) this.pool.push(message);
      return;
    }
    if (this.below(100) < this.strength.doublePercent) this.pool.push(message);
    if (this.below(100) < this.strength.lossPercent || this.cut.has(link)) return;
    this.give(message);
    if (host && this.below(4) > 0) this.turn(host);
  }

  private give(message: Message): void {
    const host = this.hosts.get(message.to);
    if (!host?.node) return;
    host.node.step(message, this.clock(host));
    if (message.type === 'append' || message.type === 'heartbeat')
      host.given.set(`${message.from} ${message.term} ${message.round}`, this.clock(host));
  }

  /** Takes Readys, writes them now or later, and may crash between any two effects. */
  private turn(host: Host): void {
    if (!this.isAwake(host)) return;
    for (let n = 0; n < 20 && host.node?.hasReady(); n++) {
      const ready = host.node.ready();
      this.promises(host, ready);
      this.noteRole(host, ready);
      this.pool.push(...ready.messagesNow);
      host.writing.push(ready);
      for (const entry of ready.committed) this.apply(host, entry);
      this.answer(host, ready);
      if (this.strength.slowDisks && this.below(3) > 0) continue;
      this.write(host);
    }
    if (!this.strength.slowDisks || this.below(2) === 0) this.write(host);
  }

  private write(host: Host): void {
    while (host.node && host.writing.length > 0) {
      const ready = host.writing.shift()!;
      if (this.below(1_000) < this.strength.crashes) return this.crash(host);
      if (ready.snapshotChunk) {
        const { meta, offset, data } = ready.snapshotChunk;
        const before = offset === 0 ? new Uint8Array(0) : host.partial!.bytes;
        check(before.length === offset, 'chunks join');
        host.partial = { meta, bytes: Uint8Array.of(...before, ...data) };
      }
      if (ready.snapshot) {
        host.storage.install(ready.snapshot);
        // The file beside the log finds its way into the machine even if this process ends here.
        host.machine = JSON.parse(new TextDecoder().decode(host.partial!.bytes)) as Machine;
        check(host.machine.digest === this.digestAt(host.machine.index), 'a snapshot holds what was agreed');
        host.past = [host.machine];
        host.partial = undefined;
        this.stats.snapshots++;
      }
      if (ready.hardState) {
        check(ready.hardState.term >= host.hardState.term, 'a term never falls');
        check(
          ready.hardState.term > host.hardState.term || host.hardState.vote === undefined || ready.hardState.vote === host.hardState.vote,
          'a vote is never changed within a term',
        );
        host.hardState = ready.hardState;
      }
      host.storage.append(ready.entries);
      if (this.below(1_000) < this.strength.crashes) return this.crash(host);
      this.pool.push(...ready.messagesAfterPersist);
      host.node.persisted(ready.upTo);
      if (ready.snapshot) host.node.applied(ready.snapshot.meta.index);
      if (ready.snapshotChunk?.last) host.node.snapshotReceived(ready.snapshotChunk.meta, this.below(20) > 0);
      if (ready.snapshotWanted !== undefined && host.machine.index >= ready.snapshotWanted) this.takeSnapshot(host);
    }
  }

  private apply(host: Host, entry: Entry): void {
    const text = `${entry.term}:${entry.type}:${new TextDecoder().decode(entry.data)}`;
    check(entry.index === host.machine.index + 1, `${host.id} applies in order`);
    check(host.storage.term(entry.index) === entry.term, 'what is applied is in the own durable log');
    check((this.agreed[entry.index] ??= text) === text, `state machine safety at ${entry.index}`);
    this.agreedTerm[entry.index] = entry.term;
    host.machine = {
      index: entry.index,
      term: entry.term,
      configuration: entry.configuration ?? host.machine.configuration,
      digest: hashOf(new TextEncoder().encode(host.machine.digest + text)),
    };
    host.past.push(host.machine);
    if (host.past.length > 50) host.past.shift();
    host.node!.applied(entry.index);
    this.stats.applied++;
  }

  private answer(host: Host, ready: Ready): void {
    for (const state of ready.readStates) {
      const needed = host.reads.get(state.context);
      check(needed !== undefined, 'a read is answered once');
      host.reads.delete(state.context);
      if ('refused' in state) continue;
      check(state.index >= needed!, `a read sees what was applied before it began (${state.index}, needed ${needed})`);
      this.stats.reads++;
    }
  }

  /** With leases or without, nobody votes inside its promise, unless the leader itself asked for the election. */
  private promises(host: Host, ready: Ready): void {
    for (const message of ready.messagesAfterPersist) {
      const acknowledges = (message.type === 'append-ack' || message.type === 'heartbeat-ack') && message.round > 0;
      if (acknowledges) {
        const heardMs = host.given.get(`${message.to} ${message.term} ${message.round}`) ?? -Infinity;
        host.promisedMs = Math.max(host.promisedMs, heardMs + 500);
        host.promisedTerm = message.term;
      }
      if (message.type === 'vote' && message.transfer) this.handedOver.add(message.term);
      const votes = message.type === 'vote' || (message.type === 'vote-answer' && message.granted);
      if (!votes || message.term <= host.promisedTerm || this.handedOver.has(message.term)) continue;
      check(this.clock(host) >= host.promisedMs, `${host.id} gives no vote inside its promise`);
    }
  }

  private noteRole(host: Host, ready: Ready): void {
    const role = `${ready.role} ${ready.term}`;
    if (this.roles.get(host.id) === role) return;
    this.roles.set(host.id, role);
    if (ready.role !== 'leader') return;
    this.stats.elections++;
    check((this.leaders.get(ready.term) ?? host.id) === host.id, `one leader in term ${ready.term}`);
    this.leaders.set(ready.term, host.id);
    const { last } = host.node!.status();
    check(last.index >= this.agreed.length - 1, 'a leader has every committed entry');
    for (let i = host.storage.firstIndex(); i < this.agreed.length; i++) {
      if (i <= host.storage.lastIndex()) check(host.storage.term(i) === this.agreedTerm[i], 'a leader has every committed entry as it is');
    }
  }

  // — Invariants and the end —

  private invariants(): void {
    for (const { id, storage, machine } of this.hosts.values()) {
      check(machine.index <= storage.lastIndex(), `${id} applied no more than its log has`);
      const last = storage.lastIndex();
      for (const other of this.hosts.values()) {
        const shared = Math.min(last, other.storage.lastIndex());
        const from = Math.max(storage.firstIndex(), other.storage.firstIndex());
        for (let i = shared, same = false; i >= from && i > shared - 5; i--) {
          const equal = storage.term(i) === other.storage.term(i);
          check(!same || equal, 'logs that agree at an entry agree before it');
          same ||= equal;
        }
      }
    }
  }

  private digestAt(index: number): string {
    let digest = '';
    for (let i = 1; i <= index; i++) digest = hashOf(new TextEncoder().encode(digest + this.agreed[i]));
    return digest;
  }

  /** Peace: within ten seconds there is a leader, an entry is committed, a joint configuration is left, and all members stand equal. */
  private heal(): void {
    this.cut.clear();
    this.slow.clear();
    for (const host of this.hosts.values()) this.wake(host);
    const calm = { ...this.strength, lossPercent: 0, doublePercent: 0, crashes: 0, slowDisks: false };
    Object.assign(this, { strength: calm });
    for (const host of this.hosts.values()) {
      if (host.node) host.node.setPromotable(true, this.clock(host));
      else this.start(host);
    }
    let proposed = 0;
    for (let i = 0; i < 400; i++) {
      this.nowMs += 50;
      // Members whose state machines stopped do not lead; if nobody else can, only a restart by the operator helps.
      if (i === 80 && !this.leader()) for (const host of this.hosts.values()) this.restart(host);
      for (const host of this.hosts.values()) {
        host.node!.tick(this.clock(host), this.nowMs);
        this.turn(host);
      }
      while (this.pool.length > 0) {
        const message = this.pool.shift()!;
        this.give(message);
        const host = this.hosts.get(message.to);
        if (host) this.turn(host);
      }
      this.invariants();
      const { node } = this.leader() ?? {};
      if (node?.ready && node.hasReady()) continue;
      if (node && i > 100 && node.status().configuration.outgoing.length > 0) {
        node.proposeConfiguration({ leaveJoint: true }, new Uint8Array(0), node.nextPlace()!);
      } else if (node && i > 150 && proposed === 0) {
        if (node.propose(new TextEncoder().encode('last'), node.nextPlace()!) === 'ok') proposed = node.status().last.index;
      }
    }
    const leader = this.leader();
    check(leader !== undefined, `there is a leader in the end: ${this.describe()}`);
    check(proposed > 0 && leader!.machine.index >= proposed, `an entry is committed in the end: ${this.describe()}`);
    for (const id of membersOf(leader!.node!.status().configuration)) {
      const host = this.hosts.get(id)!;
      check(host.machine.index === leader!.machine.index, `member ${id} has caught up in the end: ${this.describe()}`);
      check(host.machine.digest === leader!.machine.digest, `member ${id} has the same state`);
    }
  }

  private describe(): string {
    return [...this.hosts.values()]
      .map((h) => {
        const s = h.node?.status();
        return s
          ? `${h.id} ${s.role} t${s.term} ${JSON.stringify(s.last)} c${s.commit} a${s.applied} ${JSON.stringify(s.configuration)} ${JSON.stringify(s.peers)}`
          : `${h.id} down`;
      })
      .join('\n');
  }

  /** Of several that believe to lead the newest, or the `oldest`. */
  private leader(oldest = false): Host | undefined {
    const leaders = [...this.hosts.values()].filter((host) => host.node?.status().role === 'leader');
    leaders.sort((a, b) => a.node!.status().term - b.node!.status().term);
    return leaders.at(oldest ? 0 : -1);
  }

  private below(n: number): number {
    return Math.floor(this.random() * n);
  }

  private pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }
}
