import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { surplus, survey } from './leftovers.js';
import type { Server } from './server.js';

/** A change of a server that is tried to the end once, and then cut off at each of its steps. */
export interface CutOff {
  run: () => Promise<unknown>;
  /** Back to how it was before. */
  back: () => Promise<unknown>;
  /** Further facts that tell before from after. */
  facts?: () => Promise<string[]>;
}

/** Programs that only look, and the record of the operation itself. */
const idle = /^started: .*\/(btrfs (subvolume (list|show)|property get|qgroup show)|gzip -dc|xz -dc|zstd -dc|.*--version)|INTO operations/;

/** Whether something is different at a step from what it was at the one before. */
function changes(step: string, before: string): boolean {
  if (step === 'ended') return !idle.test(before);
  // The name of what the point before it has done.
  return !idle.test(step) && !(step.startsWith('step: ') && /^(local|submitted|linked|mounted)|^(ended|step)/.test(before));
}

/** Kills a server at the fault points of its work (see faultPoint in #kit). The server was started with `environment`. */
export class FaultPoints {
  readonly environment: Record<string, string>;

  constructor(private readonly file: string) {
    this.environment = { MUSTER_FAULT_POINTS: file };
  }

  #at(number: number): void {
    rmSync(this.file, { force: true });
    writeFileSync(`${this.file}.at`, `new ${number}`);
  }

  off(): void {
    rmSync(`${this.file}.at`, { force: true });
  }

  get passed(): string[] {
    return readFileSync(this.file, 'utf8').trim().split('\n');
  }

  /** Kills the server at the first step that is meant. It is not started again. */
  async killAt(server: Server, { run, back }: CutOff, meant: (step: string) => boolean): Promise<void> {
    this.#at(0);
    await run();
    this.off();
    const index = this.passed.findIndex(meant);
    if (index < 0) throw new Error(`no such step in ${this.passed.join('\n')}`);
    await back();
    this.#at(index + 1);
    await run().catch(() => undefined);
    await server.ended();
    this.off();
  }

  /**
   * Does the work once, and learns how the server looks before and after and which steps there were; then once for each step with a kill -9 there. After the
   * next start the server must look as before or as after. Gives the steps at which it was killed.
   * @throws with the step and what differs
   */
  async everyStep(server: Server, { run, back, facts }: CutOff): Promise<{ steps: number; whole: number; undone: number; failures: string[] }> {
    const look = async (): Promise<string[]> => [...(await survey(server)), ...((await facts?.()) ?? [])];
    await run();
    await back();
    const before = await settled(look);
    this.#at(0);
    await run();
    await sleep(300);
    this.off();
    const steps = this.passed;
    const after = await settled(look);
    await back();
    const tally = { steps: 0, whole: 0, undone: 0, failures: [] as string[] };
    const only = process.env.MUSTER_FAULT_STEP;
    for (const [index, step] of steps.entries()) {
      if (only !== undefined ? index + 1 !== Number(only) : !changes(step, steps[index - 1] ?? '')) continue;
      tally.steps += 1;
      this.#at(index + 1);
      await run().catch(() => undefined);
      // A step may come after the answer.
      for (let tries = 0; tries < 100 && server.running; tries++) await sleep(10);
      this.off();
      const killed = !server.running;
      if (killed) await server.boot();
      const outcome = await reaches(look, before, after);
      if (outcome === 'whole') await back();
      else if (outcome !== 'undone') {
        tally.failures.push(`${index + 1}. ${step}${killed ? '' : ' (not killed)'}:\n${outcome}`);
        await back().catch(() => undefined);
        const now = surplus(before, await settled(look));
        if (now.left.length + now.missing.length > 0) throw new Error(`${tally.failures.join('\n')}\ncannot go on: ${JSON.stringify(now)}`);
        continue;
      }
      tally[outcome] += 1;
      if (process.env.MUSTER_FAULT_VERBOSE) process.stderr.write(`${outcome}${killed ? '' : ' (lived)'} ${index + 1}. ${step}\n`);
    }
    return tally;
  }
}

async function reaches(look: () => Promise<string[]>, before: string[], after: string[]): Promise<'whole' | 'undone' | string> {
  const key = (facts: string[]): string => facts.toSorted().join('\n');
  let now: string[] = [];
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(50)) {
    now = await look();
    if (key(now) === key(after)) return 'whole';
    if (key(now) === key(before)) return 'undone';
  }
  const show = (name: string, facts: string[]): string => {
    const { missing, left } = surplus(facts, now);
    return `  against ${name}: missing ${JSON.stringify(missing)}, too much ${JSON.stringify(left)}`;
  };
  return `${show('before', before)}\n${show('after', after)}`;
}

/** Looks until it sees the same twice. */
async function settled(look: () => Promise<string[]>): Promise<string[]> {
  let last = await look();
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    await sleep(200);
    const now = await look();
    if (now.toSorted().join('\n') === last.toSorted().join('\n')) return now;
    last = now;
  }
  return last;
}
