/** One node under a microscope: messages go in by hand, and every effect can be looked at before it happens. */
import {
  MemoryStorage,
  RaftNode,
  noConfiguration,
  type Configuration,
  type Entry,
  type HardState,
  type MemberId,
  type Message,
  type MessageBody,
  type RaftOptions,
  type Ready,
} from '../index.js';

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export const entry = (index: number, term: number, text = ''): Entry => ({ index, term, type: text === '' ? 'noop' : 'normal', data: bytes(text) });

export class Lone {
  storage: MemoryStorage;
  hardState: HardState;
  boots = ['boot-1'];
  node!: RaftNode;
  readonly configuration: Configuration;
  /** Readys that were taken and not written. */
  private unwritten: Ready[] = [];
  /** Last boot nonce with which each peer speaks. */
  readonly peerBoot = new Map<MemberId, string>();

  constructor(
    private readonly options: Partial<RaftOptions> & {
      readonly id?: MemberId;
      readonly configuration?: Configuration;
      readonly log?: readonly Entry[];
      readonly base?: { term: number; index: number };
      readonly applied?: { index: number; configuration: Configuration };
    } = {},
  ) {
    this.configuration = options.configuration ?? { ...noConfiguration, voters: [1, 2, 3] };
    this.storage = new MemoryStorage(options.base);
    this.storage.append(options.log ?? []);
    this.hardState = options.hardState ?? { term: options.log?.at(-1)?.term ?? 0, commit: 0 };
    this.start(0);
  }

  start(nowMs: number): void {
    this.unwritten = [];
    const { id, configuration: _c, log: _l, base, ...raft } = this.options;
    this.node = new RaftNode({
      identity: { cluster: 'c', member: id ?? 1, incarnation: 0, boots: this.boots },
      storage: this.storage,
      startMs: nowMs,
      random: () => 0,
      ...raft,
      hardState: this.hardState,
      applied: this.options.applied ?? { index: base?.index ?? 0, configuration: this.configuration },
    });
    this.settle();
  }

  /** Forgets what was not written, and starts again. */
  restart(nowMs: number): void {
    this.boots = [...this.boots, `boot-${this.boots.length + 1}`];
    this.start(nowMs);
  }

  /** Hands a message in; what comes out stays inside until it is asked for. */
  receive(from: MemberId, term: number, body: MessageBody, nowMs: number): this {
    const boot = this.peerBoot.get(from) ?? `boot of ${from}`;
    const message: Message = { cluster: 'c', from, to: this.options.id ?? 1, incarnation: 0, boot, term, ...body };
    this.node.step(message, nowMs);
    return this;
  }

  /** Takes the next Ready and writes nothing. */
  take(): Ready {
    const ready = this.node.ready();
    this.unwritten.push(ready);
    return ready;
  }

  /** Writes what was taken. */
  write(): void {
    for (const ready of this.unwritten.splice(0)) {
      if (ready.snapshot) this.storage.install(ready.snapshot);
      if (ready.hardState) this.hardState = ready.hardState;
      this.storage.append(ready.entries);
      this.node.persisted(ready.upTo);
    }
  }

  /** Takes, writes and applies until nothing is left; gives all of it, in order. */
  settle(): { messages: Message[]; committed: Entry[]; readys: Ready[] } {
    const messages: Message[] = [];
    const committed: Entry[] = [];
    const readys: Ready[] = [];
    this.write();
    while (this.node.hasReady()) {
      const ready = this.take();
      readys.push(ready);
      this.write();
      messages.push(...ready.messagesNow, ...ready.messagesAfterPersist);
      if (ready.snapshot) this.node.applied(ready.snapshot.meta.index);
      for (const one of ready.committed) {
        committed.push(one);
        this.node.applied(one.index);
      }
    }
    return { messages, committed, readys };
  }

  /** Wins the next election with the vote of `voters`, at the given time. Its noop is written, nobody has acknowledged it. */
  lead(nowMs: number, voters: readonly MemberId[] = [2]): this {
    this.node.tick(nowMs - 50);
    this.settle();
    this.node.tick(nowMs);
    this.settle();
    const { term } = this.node.status();
    for (const id of voters) this.receive(id, term + 1, { type: 'pre-vote-answer', granted: true }, nowMs);
    this.settle();
    for (const id of voters) this.receive(id, term + 1, { type: 'vote-answer', granted: true }, nowMs);
    this.settle();
    return this;
  }

  get last(): number {
    return this.node.status().last.index;
  }

  propose(text: string): void {
    const place = this.node.nextPlace();
    if (!place || this.node.propose(bytes(text), place) !== 'ok') throw new Error('not proposed');
  }
}
