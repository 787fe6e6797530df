/**
 * Clients: each has one request under way, sends it to some member, sends the same one elsewhere when it is refused or unanswered, and gives up
 * after a while without knowing. What they asked, when, and what they were told is the history that must be linearizable.
 */
import type { MemberId } from '#raft-ts';
import { EMPTY, type Operation, type RegisterAction } from './linearizability.js';
import type { Plan } from './plan.js';
import type { Answer } from './raft-host.js';
import type { Random } from './random.js';
import type { ToyRequest, ToyResult } from './toy-machine.js';
import type { World } from './world.js';

const GIVE_UP_MS = 3_000;

/** A member as its clients see it. */
export interface Served {
  readonly id: MemberId;
  readonly state: string;
  submit(request: ToyRequest, answer: (answer: Answer<ToyResult>) => void): void;
  read(key: number, answer: (answer: Answer<number>) => void): void;
}

export interface ClientWorld {
  readonly world: World;
  readonly plan: Plan;
  readonly served: () => readonly Served[];
  /** No rest between requests until then. */
  readonly rushUntilMs: () => number;
  readonly operated: (operation: Operation) => void;
}

interface Asked {
  readonly request: ToyRequest;
  readonly kind: 'read' | 'write' | 'swap';
  readonly calledMs: number;
  /** Attempts that may still have had, or have, an effect. */
  open: number;
}

export class Client {
  private number = 0;
  private asked: Asked | undefined;
  private readonly known = new Map<number, number>();
  private favourite: MemberId | undefined;
  private stopped = false;

  constructor(
    private readonly shared: ClientWorld,
    private readonly id: number,
    private readonly random: Random,
  ) {
    this.rest();
  }

  /** Asks nothing more; what is still open stays unknown. */
  stop(): void {
    this.stopped = true;
    if (this.asked) this.giveUp(this.asked);
  }

  private rest(): void {
    const { world, plan, rushUntilMs } = this.shared;
    const restMs = world.nowMs < rushUntilMs() ? 1 : this.random.skewed(1, 2 * plan.thinkMs + 2);
    world.after(restMs, () => this.ask());
  }

  private ask(): void {
    if (this.stopped) return;
    const { random, shared } = this;
    const key = random.below(shared.plan.keys);
    const kind = random.pick(['read', 'read', 'write', 'swap'] as const);
    const value = this.id * 1_000_000 + ++this.number;
    const expected = random.chance(0.8) ? (this.known.get(key) ?? EMPTY) : value - 1;
    const request: ToyRequest = { client: this.id, number: this.number, key, value, ...(kind === 'swap' && { expected }) };
    this.asked = { request, kind, calledMs: shared.world.nowMs, open: 0 };
    this.attempt(this.asked);
  }

  private attempt(asked: Asked): void {
    const { random, shared } = this;
    const { world } = shared;
    if (this.asked !== asked) return;
    if (world.nowMs - asked.calledMs > GIVE_UP_MS) return this.giveUp(asked);
    const all = shared.served();
    const host = (random.chance(0.7) ? all.find(({ id }) => id === this.favourite) : undefined) ?? random.pick(all);
    asked.open++;
    const patience = world.after(random.between(200, 1_000), () => this.attempt(asked));
    const answered = <T>(answer: Answer<T>): void => {
      world.after(random.skewed(0.1, 5), () => {
        if (this.asked !== asked) return;
        patience.cancel();
        if ('refused' in answer) this.refused(asked, answer.leader);
        else this.done(asked, answer.value as number | ToyResult);
      });
    };
    world.after(random.skewed(0.1, 5), () => {
      if (host.state !== 'up') answered({ refused: true });
      else if (asked.kind === 'read') host.read(asked.request.key, answered);
      else host.submit(asked.request, answered);
    });
  }

  private refused(asked: Asked, leader: MemberId | undefined): void {
    asked.open--;
    this.favourite = leader;
    this.shared.world.after(this.random.skewed(1, 100), () => this.attempt(asked));
  }

  private done(asked: Asked, told: number | ToyResult): void {
    const { key } = asked.request;
    if (typeof told === 'number') {
      this.known.set(key, told);
      this.record(asked, { kind: 'read', value: told }, this.shared.world.nowMs);
    } else {
      const { value, expected } = asked.request;
      this.known.set(key, told.done ? value : told.found);
      const action: RegisterAction =
        expected === undefined
          ? { kind: 'write', value }
          : { kind: 'swap', expected, value, done: told.done, ...(!told.done && { found: told.found }) };
      this.record(asked, action, this.shared.world.nowMs);
    }
    this.next();
  }

  private giveUp(asked: Asked): void {
    const { value, expected } = asked.request;
    if (asked.kind !== 'read' && asked.open > 0)
      this.record(asked, expected === undefined ? { kind: 'write', value } : { kind: 'swap-unknown', expected, value }, Infinity);
    this.next();
  }

  private next(): void {
    this.asked = undefined;
    if (!this.stopped) this.rest();
  }

  private record({ request, calledMs }: Asked, action: RegisterAction, returnedMs: number): void {
    this.shared.operated({ key: request.key, action, calledMs, returnedMs });
  }
}
