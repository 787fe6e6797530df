import { isTrue } from '#config-keys';
import { instances } from '#instances/state';
import { type CallContext, InstancesAgentService, type Members } from '#members';
import type { ReadPort } from '#replica';
import type { ScheduledThing, SnapshotSource } from './snapshots.job.js';

const stopped = 102;

/** Instances that snapshot themselves (snapshots.schedule, also by a profile); stopped ones only where snapshots.schedule.stopped says so. */
export class ScheduledInstances implements SnapshotSource {
  readonly kind = 'instance';

  constructor(
    private readonly replica: ReadPort,
    private readonly members: Members,
  ) {}

  scheduled(): ScheduledThing[] {
    return instances(this.replica.reader).flatMap(({ id, name, project, status, expandedConfig }) => {
      const schedule = expandedConfig['snapshots.schedule'];
      if (!schedule || (status === stopped && !isTrue(expandedConfig['snapshots.schedule.stopped']))) return [];
      return [{ id, name, project, schedule }];
    });
  }

  async snapshot({ project, name }: ScheduledThing, context: CallContext): Promise<void> {
    await this.members.calls(InstancesAgentService).createInstanceSnapshot({ instance: { project, name }, name: '', stateful: false }, context);
  }
}
