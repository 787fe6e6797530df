import { NestFactory } from '@nestjs/core';
import type { Clock, Logger } from '#kit';
import type { Members, Running, ServerInfo } from '#members';
import type { Replica } from '#replica';
import type { PeriodicJob } from './periodic/periodic-job.js';
import { PeriodicRunner } from './periodic/periodic-runner.js';
import type { SnapshotSource } from './periodic/snapshots.job.js';
import { SchedulerModule } from './scheduler.module.js';

export type { DueRun, PeriodicJob } from './periodic/periodic-job.js';
export type { ScheduledThing, SnapshotSource } from './periodic/snapshots.job.js';

export interface SchedulerContext {
  replica: Replica;
  members: Members;
  server: ServerInfo;
  clock: Clock;
  log: Logger;
  /** What else comes again: expiry and refresh of images, backups. */
  jobs?: readonly PeriodicJob[];
  /** What has snapshots by schedule; instances and custom volumes when absent. */
  snapshotSources?: readonly SnapshotSource[];
}

/** Decides where and when; start it after the agent of the member, whose services it calls. */
export async function startScheduler(context: SchedulerContext): Promise<Running> {
  const log = context.log.child({ service: 'scheduler' });
  const app = await NestFactory.createApplicationContext(SchedulerModule.of({ ...context, log }), { logger: false, abortOnError: false });
  const runner = app.get(PeriodicRunner);
  runner.start();
  return {
    async stop() {
      await runner.stop();
      await app.close();
    },
  };
}
