import { internalIdentity } from '#replica/state';
import type { CallContext } from '#members';
import type { Logger } from '#kit';
import type { PeriodicJob } from './periodic-job.js';
import { isScheduled } from './snapshot-schedule.js';

/** A kind of thing that has snapshots by schedule: instances, custom volumes. */
export interface SnapshotSource {
  /** For the log. */
  readonly kind: string;
  /** Those of this member that have a schedule now and want it kept (LXD passes over stopped instances unless told). */
  scheduled(): readonly ScheduledThing[];
  /** Takes one, named by the thing's own pattern. */
  snapshot(thing: ScheduledThing, context: CallContext): Promise<void>;
}

export interface ScheduledThing {
  id: number;
  name: string;
  project: string;
  schedule: string;
}

/** At once: a snapshot may copy a whole disk. */
const atOnce = 2;

/** Every minute: takes the snapshots that are scheduled for it. One that fails does not keep the others. */
export function snapshotsJob(sources: readonly SnapshotSource[], log: Logger): PeriodicJob {
  return {
    name: 'snapshots by schedule',
    schedule: '* * * * *',
    on: 'member',
    timeoutMs: 3_600_000,
    async run({ dueAt, signal }) {
      const due = sources.flatMap((source) =>
        source
          .scheduled()
          .filter(({ schedule, id }) => isScheduled(schedule, id, dueAt))
          .map((thing) => ({ source, thing })),
      );
      const context: CallContext = { identity: internalIdentity, requestId: '', signal };
      await inTurns(due, atOnce, signal, async ({ source, thing }) => {
        try {
          await source.snapshot(thing, context);
        } catch (error) {
          log.error({ err: error, kind: source.kind, name: thing.name, project: thing.project }, 'could not take a scheduled snapshot');
        }
      });
    },
  };
}

async function inTurns<T>(items: readonly T[], lanes: number, signal: AbortSignal, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const lane = async (): Promise<void> => {
    for (const item of rest) {
      if (signal.aborted) return;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
