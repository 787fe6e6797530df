/** Chance by seed. Every concern draws from a stream of its own, so that taking one fault out of a run leaves the others as they were. */
export class Random {
  private state: number;

  constructor(private readonly name: string) {
    let hash = 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    this.state = hash >>> 0;
    for (let i = 0; i < 4; i++) this.next();
  }

  /** In [0, 1). Mulberry32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer from 0 to n - 1. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** Between the two, mostly near the lower one: what delays are like. */
  skewed(min: number, max: number): number {
    return min + (max - min) * this.next() ** 4;
  }

  between(min: number, max: number): number {
    return min + (max - min) * this.next();
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('nothing to pick from');
    return list[this.below(list.length)] as T;
  }

  /** Another stream, the same for the same name. */
  fork(name: string): Random {
    return new Random(`${this.name}/${name}`);
  }
}
