import type { EventType } from '#api-contract';

/** What a publisher says; number, boot, time and location are the hub's. */
export interface NewEvent {
  type: EventType;
  /** Absent: it belongs to no project, and only unrestricted callers see it. */
  project?: string;
  /** Plain JSON. Serialised at once: later changes are not seen. */
  metadata: unknown;
}

/** An event as it is kept and sent: serialised once, whoever listens. */
export interface EventRecord {
  readonly type: EventType | 'lost';
  readonly project?: string;
  /** Boot id of the member that published it, and its number there. Numbers of one boot have no gaps; a filtered stream shows some of them. */
  readonly boot: string;
  readonly number: number;
  /** The frame of the events socket. */
  readonly json: string;
}

/** A place in a member's events: of all up to and including `number`. */
export interface Position {
  /** Name of the member; `none` when standalone. */
  member: string;
  boot: string;
  number: number;
}

export interface ListenOptions {
  types: readonly EventType[];
  /** One project's events (and those of no project); undefined: those of all projects. */
  project?: string;
  /** A restricted caller's projects: nothing else is delivered, events of no project neither. Undefined: unrestricted. */
  visible?: readonly string[];
  /**
   * Resume: what was published after these places comes first. What is no longer kept, or belongs to a boot that is over, is told by one `lost`
   * event per place, before anything else of that member.
   */
  since?: readonly Position[];
}

/**
 * One listener's events, in order. Its queue is bounded: a listener that does not keep up is cut (`reason` says so) and can resume with `since`;
 * it never delays others, nor the publisher. For one consumer.
 */
export interface EventStream extends AsyncIterable<EventRecord>, Disposable {
  /** Why the stream ended; undefined while it lives, '' when the listener closed it. */
  readonly reason: string | undefined;
  /** Resolves when no more will come, also while what is queued has not been taken. */
  readonly ended: Promise<void>;
  close(): void;
}

/** The events of this process: those of its own member, and those of other members that are brought in. */
export interface EventHub {
  /** Of this start of this member. */
  readonly boot: string;
  /** Never blocks, never throws for a listener's sake. */
  publish(event: NewEvent): void;
  /** An event of another member, with its own number and boot. Out of order or seen already: dropped. */
  inject(frame: { type: EventType; project?: string; boot: string; number: number; location: string; json: string }): void;
  /** True when somebody listens for the type: log lines need not be rendered when nobody does. */
  wanted(type: EventType): boolean;
  listen(options: ListenOptions): EventStream;
  /** Ends all streams with a reason, once they have delivered what they hold. */
  close(reason: string): void;
}
