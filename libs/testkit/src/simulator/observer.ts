/**
 * Sees everything, and knows what may never be seen. What it keeps is by induction: each check is of one step against what all earlier steps
 * have shown, so that checking costs about nothing and every run can do it after every step.
 *
 * Names of rules are those of the Raft thesis, figure 3.2, where it has one.
 */
import type { Configuration, Entry, MemberId, Message, Position, Ready } from '#raft-ts';
import { require, Violation } from './violation.js';

/** What the observer must know of a member. */
export interface Observed {
  readonly id: MemberId;
  readonly incarnation: number;
  /** Of its own clock. */
  readonly clockMs: number;
  /** When its present process began, on its own clock. */
  readonly startedMs: number;
  /** End of what its disk would have after a power loss now; and the term, and vote, likewise. */
  readonly durableIndex: number;
  readonly durableVote: { readonly term: number; readonly vote?: MemberId | undefined };
  /** Its disk was put back to an earlier state: what it says is worth nothing, and nobody may count it. */
  readonly forgetful: boolean;
  termAt(index: number): number | undefined;
  lastPosition(): Position;
}

interface Memory {
  /** No vote before that, but for terms up to this one. */
  promisedMs: number;
  promisedTerm: number;
  /** When that round of that leader and term came first. */
  readonly heard: Map<string, number>;
  role: string;
  /** Leader: end of its log when last seen. */
  lastIndex: number;
}

/** What was committed, as first seen anywhere. */
interface Agreed {
  readonly term: number;
  readonly content: string;
  /** A term in which it was committed at the latest. */
  readonly inTerm: number;
}

export class Observer {
  readonly agreed: (Agreed | undefined)[] = [];
  private readonly leaders = new Map<number, MemberId>();
  /** Term and index → what came before it, and what it is. */
  private readonly written = new Map<number, { readonly previousTerm: number; readonly content: string }>();
  private readonly votes = new Map<string, MemberId>();
  /** Terms in which a leader asked for the election: promises do not hold there. */
  private readonly handedOver = new Set<number>();
  private readonly memories = new Map<string, Memory>();
  private readonly configurations: { readonly index: number; readonly configuration: string }[] = [];
  readonly counts = { elections: 0, committed: 0 };

  constructor(private readonly promiseMs: number) {}

  get highestApplied(): number {
    return Math.max(0, this.agreed.length - 1);
  }

  started(member: Observed): void {
    this.memories.set(key(member), {
      promisedMs: member.startedMs + this.promiseMs,
      promisedTerm: 0,
      heard: new Map(),
      role: '',
      lastIndex: 0,
    });
  }

  /** A start finds these at the end of its log. */
  recovered(member: Observed, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const known = this.written.get(placeOf(entry));
      require(known?.content === contentOf(entry), 'what a log gives back was written', () => `${member.id} at ${entry.index} of term ${entry.term}`);
    }
  }

  /** The member is about to be told this. */
  given(member: Observed, message: Message): void {
    if (message.type !== 'append' && message.type !== 'heartbeat') return;
    const { heard } = this.memory(member);
    const round = `${message.from} ${message.term} ${message.round}`;
    if (!heard.has(round)) heard.set(round, member.clockMs);
  }

  /** The member says this. */
  said(member: Observed, message: Message): void {
    if (member.forgetful) return;
    const memory = this.memory(member);
    switch (message.type) {
      case 'append-ack':
        // One of an earlier term may come out together with what a later term's leader made of the log: it was true when it was made, and whoever
        // leads the later term was elected by members that had looked at their logs before.
        require(message.term < member.durableVote.term || message.index <= member.durableIndex, 'what is acknowledged is durable', () =>
          `${member.id} acknowledges ${message.index}, has ${member.durableIndex}`);
        this.promise(memory, message);
        break;
      case 'heartbeat-ack':
        this.promise(memory, message);
        break;
      case 'vote':
        if (message.transfer) this.handedOver.add(message.term);
        this.voted(member, memory, message.term, member.id);
        break;
      case 'vote-answer':
        if (message.granted) this.voted(member, memory, message.term, message.to);
    }
  }

  /** The member hands this out, before any of it is done. */
  ready(member: Observed, ready: Ready): void {
    const memory = this.memory(member);
    require(!member.forgetful || ready.role !== 'leader', 'a disk that was put back is not trusted', () => `${member.id} leads term ${ready.term}`);
    const role = `${ready.role} ${ready.term}`;
    if (ready.role === 'leader') {
      if (memory.role !== role) this.elected(member, ready.term);
      else if (ready.entries.length > 0) {
        require((ready.entries[0] as Entry).index > memory.lastIndex, 'leader append-only', () => `${member.id} rewrites ${ready.entries[0]?.index}`);
      }
      memory.lastIndex = ready.entries.at(-1)?.index ?? memory.lastIndex;
    }
    memory.role = role;
  }

  /** These entries now stand in the member's log, the last of them behind `previousTerm`. */
  appended(member: Observed, entries: readonly Entry[], previousTerm: number): void {
    let before = previousTerm;
    for (const entry of entries) {
      const place = placeOf(entry);
      const content = contentOf(entry);
      const known = this.written.get(place);
      if (!known) this.written.set(place, { previousTerm: before, content });
      else {
        require(known.previousTerm === before && known.content === content, 'log matching', () =>
          `${member.id} at ${entry.index} of term ${entry.term}`);
      }
      before = entry.term;
    }
  }

  /** The member applies this on top of `before`. */
  applied(member: Observed, entry: Entry, before: Position, term: number): void {
    if (member.forgetful) return;
    require(entry.index === before.index + 1, 'entries are applied in order', () => `${member.id} applies ${entry.index} after ${before.index}`);
    require(entry.index <= member.durableIndex && member.termAt(entry.index) === entry.term, 'what is applied is in the own durable log', () =>
      `${member.id} applies ${entry.index}, has ${member.durableIndex}`);
    const content = contentOf(entry);
    const known = this.agreed[entry.index];
    if (known) {
      require(known.term === entry.term && known.content === content, 'state machine safety', () => `${member.id} applies another ${entry.index}`);
      return;
    }
    this.agreed[entry.index] = { term: entry.term, content, inTerm: term };
    if (entry.configuration) this.configurations.push({ index: entry.index, configuration: JSON.stringify(entry.configuration) });
    this.counts.committed++;
  }

  /** A snapshot took the place of everything up to there. */
  installed(member: Observed, at: Position & { readonly configuration: Configuration }): void {
    require(this.agreed[at.index]?.term === at.term, 'a snapshot holds what was agreed', () => `${member.id} at ${at.index}`);
    const known = this.configurations.findLast(({ index }) => index <= at.index)?.configuration;
    require(known === undefined || known === JSON.stringify(at.configuration), 'a snapshot has the configuration of its own place', () =>
      `${member.id} at ${at.index}`);
  }

  private elected(member: Observed, term: number): void {
    this.counts.elections++;
    require((this.leaders.get(term) ?? member.id) === member.id, 'election safety', () =>
      `${member.id} and ${this.leaders.get(term)} lead term ${term}`);
    this.leaders.set(term, member.id);
    const last = member.lastPosition();
    // By log matching it is enough to look at the highest one that an earlier term has committed.
    for (let index = this.highestApplied; index > 0; index--) {
      const agreed = this.agreed[index];
      if (!agreed || agreed.inTerm >= term) continue;
      const has = member.termAt(index);
      require(last.index >= index && (has === undefined || has === agreed.term), 'leader completeness', () =>
        `${member.id} leads term ${term} without entry ${index} of term ${agreed.term}`);
      break;
    }
  }

  private voted(member: Observed, memory: Memory, term: number, candidate: MemberId): void {
    const name = `${member.id} ${member.incarnation} ${term}`;
    const before = this.votes.get(name);
    require(before === undefined || before === candidate, 'one vote in a term', () => `${member.id} votes for ${before} and ${candidate} in ${term}`);
    if (before !== undefined) return;
    this.votes.set(name, candidate);
    if (candidate !== member.id) {
      const { durableVote } = member;
      require(durableVote.term > term || (durableVote.term === term && durableVote.vote === candidate), 'a vote is durable before it is told', () =>
        `${member.id} in term ${term}`);
    }
    if (term <= memory.promisedTerm || this.handedOver.has(term)) return;
    require(member.clockMs >= memory.promisedMs, 'no vote inside a promise', () =>
      `${member.id} in term ${term}, ${Math.ceil(memory.promisedMs - member.clockMs)} ms too early`);
  }

  private promise(memory: Memory, message: Message & { readonly round: number }): void {
    if (message.round === 0) return;
    memory.promisedMs = Math.max(
      memory.promisedMs,
      (memory.heard.get(`${message.to} ${message.term} ${message.round}`) ?? -Infinity) + this.promiseMs,
    );
    memory.promisedTerm = Math.max(memory.promisedTerm, message.term);
  }

  private memory(member: Observed): Memory {
    const memory = this.memories.get(key(member));
    if (!memory) throw new Violation('the simulator knows its members', String(member.id));
    return memory;
  }
}

const key = (member: Observed): string => `${member.id}/${member.incarnation}`;

const placeOf = ({ term, index }: Position): number => term * 0x1000000 + index;

function contentOf(entry: Entry): string {
  const configuration = entry.configuration ? JSON.stringify(entry.configuration) : '';
  return `${entry.type} ${configuration} ${Buffer.from(entry.data.buffer, entry.data.byteOffset, entry.data.byteLength).toString('latin1')}`;
}
