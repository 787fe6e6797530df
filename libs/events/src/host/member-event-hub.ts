import { randomBytes } from 'node:crypto';
import type { EventType, LostEvent } from '#api-contract';
import type { Clock } from '#kit';
import { BoundedStream, queueLimits, type QueueLimits } from './bounded-stream.js';
import type { EventHub, EventRecord, EventStream, ListenOptions, NewEvent, Position } from './event-hub.js';
import { EventRing, ringLimits, type RingLimits } from './event-ring.js';

export interface MemberEventHubOptions {
  clock: Clock;
  /** Name of this member as events carry it; `none` when standalone. */
  location: () => string;
  ring?: RingLimits;
  queue?: QueueLimits;
}

interface Listener {
  options: ListenOptions;
  types: ReadonlySet<EventType>;
  stream: BoundedStream;
}

/** Boots of other members whose ring is kept: more than any cluster has members. The oldest goes first. */
const foreignRingsMax = 256;

/** The EventHub of a member. Everything happens in the turn of `publish`: order is the order of calls. */
export class MemberEventHub implements EventHub {
  readonly boot = randomBytes(8).toString('hex');
  readonly #rings = new Map<string, EventRing>();
  readonly #listeners = new Set<Listener>();
  readonly #own: EventRing;

  constructor(private readonly options: MemberEventHubOptions) {
    this.#own = new EventRing(options.location(), this.boot, options.ring ?? ringLimits);
    this.#rings.set(this.boot, this.#own);
  }

  publish(event: NewEvent): void {
    const number = this.#own.last + 1;
    const { type, project } = event;
    const json = JSON.stringify({
      type,
      timestamp: this.options.clock.now().toISOString(),
      metadata: event.metadata,
      location: this.options.location(),
      ...(project === undefined ? {} : { project }),
      number,
      boot: this.boot,
    });
    this.#deliver(this.#own, { type, project, boot: this.boot, number, json });
  }

  inject(frame: { type: EventType; project?: string; boot: string; number: number; location: string; json: string }): void {
    const { type, project, boot, number, location, json } = frame;
    if (boot === this.boot) return;
    let ring = this.#rings.get(boot);
    if (!ring) {
      ring = new EventRing(location, boot, this.options.ring ?? ringLimits);
      // Nothing before the first one that is seen is known here.
      ring.last = number - 1;
      this.#rings.set(boot, ring);
      if (this.#rings.size > foreignRingsMax) this.#dropOldestRing();
    }
    if (number > ring.last) this.#deliver(ring, { type, project, boot, number, json });
  }

  wanted(type: EventType): boolean {
    for (const listener of this.#listeners) if (listener.types.has(type)) return true;
    return false;
  }

  listen(options: ListenOptions): EventStream {
    const stream: BoundedStream = new BoundedStream(() => this.#listeners.delete(listener), this.options.queue ?? queueLimits);
    const listener: Listener = { options, types: new Set(options.types), stream };
    for (const position of options.since ?? []) stream.preload(this.#resume(listener, position));
    this.#listeners.add(listener);
    return stream;
  }

  close(reason: string): void {
    for (const listener of this.#listeners) listener.stream.end(reason);
  }

  // A listener that is cut leaves the set while it is walked: a Set allows that.
  #deliver(ring: EventRing, record: EventRecord): void {
    ring.push(record, this.options.clock.monotonicMs());
    for (const listener of this.#listeners) if (wants(listener, record)) listener.stream.push(record);
  }

  /** What a listener missed since a place: its events, after a `lost` event if some are gone. */
  #resume(listener: Listener, since: Position): EventRecord[] {
    const ring = this.#rings.get(since.boot);
    if (!ring) return [this.#lost(since, null), ...this.#sameMember(since.member).flatMap((other) => matching(listener, other.after(0)))];
    ring.prune(this.options.clock.monotonicMs());
    const missed = matching(listener, ring.after(since.number));
    return since.number + 1 < ring.first ? [this.#lost(since, ring.first - 1), ...missed] : missed;
  }

  #sameMember(member: string): EventRing[] {
    return [...this.#rings.values()].filter((ring) => (ring === this.#own ? this.options.location() : ring.member) === member);
  }

  #lost(since: Position, to: number | null): EventRecord {
    const event: LostEvent = {
      type: 'lost',
      timestamp: this.options.clock.now().toISOString(),
      location: since.member,
      metadata: { boot: since.boot, from: since.number + 1, to },
    };
    return { type: 'lost', boot: since.boot, number: since.number, json: JSON.stringify(event) };
  }

  #dropOldestRing(): void {
    for (const [boot, ring] of this.#rings) {
      if (ring === this.#own) continue;
      this.#rings.delete(boot);
      return;
    }
  }
}

function wants(listener: Listener, record: EventRecord): boolean {
  if (record.type !== 'lost' && !listener.types.has(record.type)) return false;
  const { visible, project } = listener.options;
  if (visible && (record.project === undefined || !visible.includes(record.project))) return false;
  return project === undefined || record.project === undefined || record.project === project;
}

const matching = (listener: Listener, records: readonly EventRecord[]): EventRecord[] => records.filter((record) => wants(listener, record));
