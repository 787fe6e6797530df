import { Cron } from 'croner';
import type { Clock, Logger } from '#kit';
import type { Running } from '#members';
import type { PeriodicJob } from './periodic-job.js';

/** The clock is looked at this often, however far the next run is: it may jump, and the machine may sleep. */
const lookEveryMs = 30_000;

const stopMs = 5_000;

interface Planned {
  job: PeriodicJob;
  cron: Cron;
  next: Date | undefined;
  running: Promise<void> | undefined;
}

export interface PeriodicRunnerOptions {
  jobs: readonly PeriodicJob[];
  clock: Clock;
  log: Logger;
  isLeader: () => Promise<boolean>;
}

/**
 * Runs jobs at their times. A job never runs twice at once: one that is due while it still runs is passed over, and said so. Times missed while the
 * machine slept are made up for by one run. A failure is logged; the next time comes all the same.
 */
export class PeriodicRunner implements Running {
  readonly #planned: Planned[];
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #lastLook = 0;

  constructor(private readonly options: PeriodicRunnerOptions) {
    this.#planned = options.jobs.map((job) => ({
      job,
      cron: new Cron(job.schedule, { mode: '5-part', paused: true }),
      next: undefined,
      running: undefined,
    }));
    this.#plan(options.clock.now());
  }

  start(): void {
    this.look();
    const now = this.options.clock.now().getTime();
    const nextMs = Math.min(...this.#planned.map(({ next }) => (next?.getTime() ?? Infinity) - now), lookEveryMs);
    this.#timer = setTimeout(() => this.start(), Math.max(50, nextMs));
    this.#timer.unref();
  }

  /** Starts what is due by the clock. */
  look(): void {
    const now = this.options.clock.now();
    // Set back: what was planned by the old time could be hours away.
    if (now.getTime() < this.#lastLook) this.#plan(now);
    this.#lastLook = now.getTime();
    for (const planned of this.#planned) {
      const dueAt = planned.next;
      if (!dueAt || dueAt > now) continue;
      planned.next = planned.cron.nextRun(now) ?? undefined;
      if (planned.running) this.options.log.warn({ job: planned.job.name }, 'still running, passed over');
      else planned.running = this.#run(planned.job, latest(planned.cron, dueAt, now)).finally(() => (planned.running = undefined));
    }
  }

  /** Resolves when nothing runs at the moment. */
  async idle(): Promise<void> {
    await Promise.all(this.#planned.map(({ running }) => running));
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#abort.abort();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, stopMs);
    await Promise.race([this.idle(), late]);
    clearTimeout(timer);
  }

  #plan(now: Date): void {
    for (const planned of this.#planned) planned.next = planned.cron.nextRun(now) ?? undefined;
  }

  async #run(job: PeriodicJob, dueAt: Date): Promise<void> {
    const { log, isLeader, clock } = this.options;
    const beganMs = clock.monotonicMs();
    try {
      if (job.on === 'leader' && !(await isLeader())) return;
      await job.run({ dueAt, signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(job.timeoutMs)]) });
      log.debug({ job: job.name, ms: Math.round(clock.monotonicMs() - beganMs) }, 'periodic work done');
    } catch (error) {
      if (!this.#abort.signal.aborted) log.error({ err: error, job: job.name }, 'periodic work failed');
    }
  }
}

/** Of the times since `dueAt` the last one that has come: the run speaks of now, not of when the machine fell asleep. */
function latest(cron: Cron, dueAt: Date, now: Date): Date {
  const [previous] = cron.previousRuns(1, new Date(now.getTime() + 1_000));
  return previous && previous > dueAt ? previous : dueAt;
}
