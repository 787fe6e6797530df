import { constants } from 'node:os';
import { faultPoint } from '#kit';
import { libc } from './libc.js';
import type { Ending, SpawnedProcess } from './spawn.js';

const WNOHANG = 1;
/** SIGCHLD is merged when several arrive, and is not told to worker threads: looking once in a while costs nothing and misses nothing. */
const sweepMs = 1000;

const signalNames = new Map<number, string>();
for (const [name, number] of Object.entries(constants.signals)) if (!signalNames.has(number)) signalNames.set(number, name);

class Child implements SpawnedProcess {
  readonly ended: Promise<Ending>;
  ending: Ending | undefined;
  referenced = true;
  #settle!: (ending: Ending) => void;

  constructor(
    readonly pid: number,
    private readonly changed: () => void,
  ) {
    this.ended = new Promise((resolve) => (this.#settle = resolve));
  }

  end(ending: Ending): void {
    this.ending = ending;
    faultPoint('ended');
    this.#settle(ending);
  }

  kill(signal: NodeJS.Signals, group = false): boolean {
    // Until waitpid has seen the end, the number is still this child's, even as a zombie.
    if (this.ending) return false;
    try {
      return process.kill(group ? -this.pid : this.pid, signal);
    } catch {
      return false;
    }
  }

  unref(): void {
    this.referenced = false;
    this.changed();
  }
}

/** Waits for our own children only, so that Node's child_process can work beside it. */
class Reaper {
  readonly #children = new Map<number, Child>();
  #sweep: NodeJS.Timeout | undefined;
  #listening = false;

  /** To be called before the child is started: one that ends at once must find somebody listening. */
  listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    process.on('SIGCHLD', () => this.#look());
  }

  adopt(pid: number): SpawnedProcess {
    const child = new Child(pid, () => this.#updateReference());
    this.#sweep ??= setInterval(() => this.#look(), sweepMs);
    this.#children.set(pid, child);
    this.#updateReference();
    return child;
  }

  #look(): void {
    const status = new Uint8Array(4);
    for (const [pid, child] of this.#children) {
      const result = libc.waitpid(pid, status, WNOHANG);
      if (result === 0) continue;
      this.#children.delete(pid);
      // -1: somebody else waited for it. The ending is unknown, and must not look like success.
      child.end(result === pid ? decode(new DataView(status.buffer).getInt32(0, true)) : { code: 255, signal: null });
    }
    if (this.#children.size === 0) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    } else this.#updateReference();
  }

  #updateReference(): void {
    if (!this.#sweep) return;
    for (const child of this.#children.values()) {
      if (child.referenced) {
        this.#sweep.ref();
        return;
      }
    }
    this.#sweep.unref();
  }
}

/** A wait status as wait(2) lays it out. */
function decode(status: number): Ending {
  const signal = status & 0x7f;
  if (signal === 0) return { code: (status >> 8) & 0xff, signal: null };
  return { code: null, signal: signalNames.get(signal) ?? `SIG${signal}` };
}

export const reaper = new Reaper();
