import { beforeEach, describe, expect, it } from 'vitest';
import { type Clock, type Logger, silent } from '#kit';
import type { DueRun, PeriodicJob } from './periodic-job.js';
import { PeriodicRunner } from './periodic-runner.js';

class ManualClock implements Clock {
  at = new Date(2030, 0, 15, 12, 0, 30);
  now = (): Date => this.at;
  monotonicMs = (): number => this.at.getTime();
  pass(seconds: number): void {
    this.at = new Date(this.at.getTime() + seconds * 1_000);
  }
}

let clock: ManualClock;
let runs: Date[];
beforeEach(() => {
  clock = new ManualClock();
  runs = [];
});

const job = (more: Partial<PeriodicJob> = {}): PeriodicJob => ({
  name: 'test',
  schedule: '* * * * *',
  on: 'member',
  timeoutMs: 1_000,
  run: async ({ dueAt }) => void runs.push(dueAt),
  ...more,
});
const runner = (it: PeriodicJob, more: { isLeader?: () => Promise<boolean>; log?: Logger } = {}): PeriodicRunner =>
  new PeriodicRunner({ jobs: [it], clock, log: silent, isLeader: async () => true, ...more });
const minutes = (): string[] => runs.map((at) => `${at.getHours()}:${at.getMinutes()}:${at.getSeconds()}`);

describe('PeriodicRunner', () => {
  it('runs at its times, once each', async () => {
    const it = runner(job());
    it.look();
    for (let n = 0; n < 13; n++) {
      clock.pass(10);
      it.look();
      await it.idle();
    }
    expect(minutes()).toEqual(['12:1:0', '12:2:0']);
  });

  it('makes up for a sleep with one run, of the last time that was missed', async () => {
    const it = runner(job());
    clock.pass(3_600);
    it.look();
    await it.idle();
    it.look();
    await it.idle();
    expect(minutes()).toEqual(['13:0:0']);
  });

  it('plans anew when the clock is set back', async () => {
    const it = runner(job({ schedule: '0 * * * *' }));
    for (const hours of [4, -3, 1]) {
      clock.pass(hours * 3_600);
      it.look();
      await it.idle();
    }
    expect(minutes()).toEqual(['16:0:0', '14:0:0']);
  });

  it('passes over a run while the last one is under way', async () => {
    const held = Promise.withResolvers<void>();
    let begun = 0;
    const it = runner(job({ run: () => (begun++, held.promise) }));
    for (let n = 0; n < 3; n++) {
      clock.pass(60);
      it.look();
    }
    expect(begun).toBe(1);
    held.resolve();
    await it.idle();
    clock.pass(60);
    it.look();
    expect(begun).toBe(2);
  });

  it('goes on after a failure, and logs it', async () => {
    const logged: string[] = [];
    const log = { ...silent, error: (_fields: object, message?: string) => void logged.push(message ?? '') };
    const it = runner(job({ run: () => Promise.reject(new Error('no')) }), { log });
    for (let n = 0; n < 2; n++) {
      clock.pass(60);
      it.look();
      await it.idle();
    }
    expect(logged).toEqual(['periodic work failed', 'periodic work failed']);
  });

  it('leaves the work of all to the leader', async () => {
    let leader = false;
    const it = runner(job({ on: 'leader' }), { isLeader: async () => leader });
    clock.pass(60);
    it.look();
    await it.idle();
    leader = true;
    clock.pass(60);
    it.look();
    await it.idle();
    expect(minutes()).toEqual(['12:2:0']);
  });

  it('tells a run that takes too long, and all when it stops', async () => {
    const reasons: string[] = [];
    const untilAborted = ({ signal }: DueRun): Promise<void> =>
      new Promise((resolve) => signal.addEventListener('abort', () => (reasons.push((signal.reason as Error).name), resolve())));
    const slow = runner(job({ timeoutMs: 20, run: untilAborted }));
    clock.pass(60);
    slow.look();
    await slow.idle();
    const other = runner(job({ run: untilAborted }));
    clock.pass(60);
    other.look();
    await new Promise(setImmediate);
    await other.stop();
    expect(reasons).toEqual(['TimeoutError', 'AbortError']);
  });
});
