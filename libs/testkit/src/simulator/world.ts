/** Virtual time: a queue of what is to happen, in order of time, and of being asked for at equal times. Nothing here waits for anything. */
export class World {
  /** True time, milliseconds since the world began. No process sees it; each has a clock of its own. */
  nowMs = 0;
  private readonly heap: Event[] = [];
  private count = 0;

  at(timeMs: number, work: () => void): Event {
    const event = new Event(Math.max(timeMs, this.nowMs), this.count++, work);
    this.push(event);
    return event;
  }

  after(delayMs: number, work: () => void): Event {
    return this.at(this.nowMs + delayMs, work);
  }

  /** Lets the next thing happen. False if nothing is left, or nothing before `untilMs`: then it is that time. */
  step(untilMs: number): boolean {
    for (;;) {
      const next = this.heap[0];
      if (!next || next.timeMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return false;
      }
      this.pop();
      if (!next.work) continue;
      this.nowMs = next.timeMs;
      next.work();
      return true;
    }
  }

  private push(event: Event): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!event.before(heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as Event).before(heap[child] as Event)) child++;
      if (!(heap[child] as Event).before(last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

/** Something that will happen, unless it is called off. */
export class Event {
  constructor(
    readonly timeMs: number,
    private readonly order: number,
    public work: (() => void) | undefined,
  ) {}

  before(other: Event): boolean {
    return this.timeMs < other.timeMs || (this.timeMs === other.timeMs && this.order < other.order);
  }

  cancel(): void {
    this.work = undefined;
  }
}
