import { type DynamicModule, Module } from '@nestjs/common';
import { ScheduledVolumes } from '#storage/host';
import { candidates } from './candidates.js';
import { housekeepingJobs } from './periodic/housekeeping.jobs.js';
import { PeriodicRunner } from './periodic/periodic-runner.js';
import { ScheduledInstances } from './periodic/scheduled-instances.js';
import { snapshotsJob } from './periodic/snapshots.job.js';
import { PlacementService } from './placement.service.js';
import type { SchedulerContext } from './app.js';

/** What the scheduler is made of. It keeps no state: everything is looked up when it is needed. */
@Module({})
export class SchedulerModule {
  static of({ replica, members, server, clock, log, jobs = [], snapshotSources }: SchedulerContext): DynamicModule {
    const sources = snapshotSources ?? [new ScheduledInstances(replica, members), new ScheduledVolumes({ replica, members, server })];
    const all = [...housekeepingJobs(members, replica), snapshotsJob(sources, log), ...jobs];
    const isLeader = async (): Promise<boolean> => (await replica.status()).role === 'leader';
    return {
      module: SchedulerModule,
      providers: [
        {
          provide: PlacementService,
          useFactory: () => new PlacementService(members, async () => (await replica.barrier(), candidates(replica, server, members))),
        },
        { provide: PeriodicRunner, useFactory: () => new PeriodicRunner({ jobs: all, clock, log, isLeader }) },
      ],
    };
  }
}
