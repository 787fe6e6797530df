/** Members joined by a network without delay, on a virtual clock; links can be cut, and messages held. */
import { noConfiguration, type Configuration, type MemberId, type Message, type RaftOptions, type Ready } from '../index.js';
import { Member } from './member.js';

export interface ClusterOptions {
  readonly event?: (member: Member, what: string) => void;
  /** Called for every message; `fate` says what becomes of it. */
  readonly message?: (message: Message, fate: 'delivered' | 'lost' | 'held') => void;
  readonly ready?: (member: Member, ready: Ready) => void;
  readonly raft?: Partial<RaftOptions>;
  /** Of all members at their first start. */
  readonly patience?: number;
}

export class Cluster {
  readonly members = new Map<MemberId, Member>();
  nowMs = 0;
  /** Pairs `from>to` whose messages are lost, or held. */
  readonly cut = new Set<string>();
  readonly held = new Set<string>();
  queue: Message[] = [];
  private parked: Message[] = [];

  constructor(
    ids: readonly MemberId[],
    configuration: Configuration,
    private readonly options: ClusterOptions = {},
  ) {
    for (const id of ids) this.add(id, configuration);
  }

  add(id: MemberId, configuration: Configuration = noConfiguration, raft: Partial<RaftOptions> = {}): Member {
    const member = new Member(
      id,
      configuration,
      {
        send: (message) => this.queue.push(message),
        event: (m, what) => this.options.event?.(m, what),
        ready: (m, ready) => this.options.ready?.(m, ready),
      },
      { ...this.options.raft, ...raft },
    );
    member.patience = this.options.patience ?? member.patience;
    this.members.set(id, member);
    member.start(this.nowMs);
    return member;
  }

  member(id: MemberId): Member {
    const member = this.members.get(id);
    if (!member) throw new Error(`there is no member ${id}`);
    return member;
  }

  get leader(): Member | undefined {
    const leaders = [...this.members.values()].filter((m) => m.node?.status().role === 'leader');
    return leaders.sort((a, b) => b.node!.status().term - a.node!.status().term)[0];
  }

  /** Delivers until all is quiet. */
  settle(): void {
    for (const member of this.members.values()) member.turn();
    for (let message = this.queue.shift(); message; message = this.queue.shift()) {
      this.deliver(message);
      if (this.queue.length === 0) for (const member of this.members.values()) member.turn();
    }
  }

  /** Lets time pass, in steps of a tick, everything settled after each. */
  run(ms: number, tickMs = 50): void {
    for (const end = this.nowMs + ms; this.nowMs < end;) {
      this.nowMs = Math.min(end, this.nowMs + tickMs);
      for (const member of this.members.values()) member.node?.tick(this.nowMs);
      this.settle();
    }
  }

  release(): void {
    this.held.clear();
    this.queue.push(...this.parked);
    this.parked = [];
  }

  private deliver(message: Message): void {
    const link = `${message.from}>${message.to}`;
    const to = this.members.get(message.to);
    const fate = this.cut.has(link) || !to?.node ? 'lost' : this.held.has(link) ? 'held' : 'delivered';
    this.options.message?.(message, fate);
    if (fate === 'held') this.parked.push(message);
    if (fate !== 'delivered') return;
    to!.node!.step(message, this.nowMs);
    to!.turn();
  }
}
