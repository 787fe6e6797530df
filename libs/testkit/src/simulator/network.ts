import type { Random } from './random.js';
import type { World } from './world.js';

export interface NetworkStrength {
  readonly delayMs: number;
  /** Up to so much more, mostly little. */
  readonly jitterMs: number;
  readonly lossPercent: number;
  readonly doublePercent: number;
  /** The second copy comes up to so much later. */
  readonly doubleLateMs: number;
  /** Of a hundred messages so many overtake the ones before them. */
  readonly reorderPercent: number;
}

export const noTrouble: NetworkStrength = { delayMs: 0.2, jitterMs: 0.5, lossPercent: 0, doublePercent: 0, doubleLateMs: 0, reorderPercent: 0 };

/** What carries messages between processes: late, twice, in another order, or not at all. Each direction of a link can be cut by itself. */
export class Network<M> {
  private readonly lastArrival = new Map<string, number>();
  private readonly cuts = new Map<string, number>();
  private readonly slow = new Map<string, { readonly untilMs: number; readonly delayMs: number }>();
  carried = 0;

  constructor(
    private readonly world: World,
    private readonly random: Random,
    public strength: NetworkStrength,
    private readonly deliver: (to: number, message: M) => void,
  ) {}

  /** Messages from `from` to `to` are lost until then. */
  cut(from: number, to: number, untilMs: number): void {
    this.cuts.set(`${from}>${to}`, untilMs);
  }

  /** Messages take `delayMs` more until then. */
  slowDown(from: number, to: number, untilMs: number, delayMs: number): void {
    this.slow.set(`${from}>${to}`, { untilMs, delayMs });
  }

  isCut(from: number, to: number): boolean {
    return this.world.nowMs < (this.cuts.get(`${from}>${to}`) ?? 0);
  }

  heal(): void {
    this.cuts.clear();
    this.slow.clear();
    this.strength = noTrouble;
  }

  send(from: number, to: number, message: M): void {
    const { random, strength } = this;
    if (this.isCut(from, to)) return;
    if (strength.lossPercent > 0 && random.chance(strength.lossPercent / 100)) return;
    this.carry(from, to, message);
    if (strength.doublePercent > 0 && random.chance(strength.doublePercent / 100)) {
      if (strength.doubleLateMs === 0) this.carry(from, to, message);
      else this.world.after(random.between(0, strength.doubleLateMs), () => this.carry(from, to, message));
    }
  }

  private carry(from: number, to: number, message: M): void {
    const { world, random, strength } = this;
    const link = `${from}>${to}`;
    const slow = this.slow.get(link);
    const extraMs = slow && world.nowMs < slow.untilMs ? slow.delayMs : 0;
    let arrival = world.nowMs + extraMs + random.skewed(strength.delayMs, strength.delayMs + strength.jitterMs);
    const overtakes = strength.reorderPercent > 0 && random.chance(strength.reorderPercent / 100);
    if (!overtakes) {
      arrival = Math.max(arrival, this.lastArrival.get(link) ?? 0);
      this.lastArrival.set(link, arrival);
    }
    this.carried++;
    world.at(arrival, () => {
      // A cut takes what is on its way, too.
      if (!this.isCut(from, to)) this.deliver(to, message);
    });
  }
}
