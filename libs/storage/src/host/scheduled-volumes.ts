import { type CallContext, type HostContext, StorageAgentService } from '#members';
import { scheduledVolumes, type VolumeRecord } from '../state/index.js';

/** A custom volume with a schedule, as the scheduler asks for it. */
export interface ScheduledVolume {
  id: number;
  name: string;
  project: string;
  schedule: string;
  volume: VolumeRecord;
}

/** Custom volumes of this member as a source of scheduled snapshots (a SnapshotSource of the scheduler): which there are, and how one is taken. */
export class ScheduledVolumes {
  readonly kind = 'custom volume';

  constructor(private readonly context: Pick<HostContext, 'replica' | 'members' | 'server'>) {}

  scheduled(): ScheduledVolume[] {
    const { replica, server } = this.context;
    return scheduledVolumes(replica.reader, server.memberId).map((volume) => ({
      id: volume.id,
      name: volume.name,
      project: volume.project,
      schedule: volume.config['snapshots.schedule']!,
      volume,
    }));
  }

  async snapshot({ id }: { id: number }, context: CallContext): Promise<void> {
    const found = this.scheduled().find((one) => one.id === id);
    if (!found) return;
    const { pool, project, type, name } = found.volume;
    const message = { volume: { pool, project, type, name }, name: '', byPattern: true, expiresAt: undefined, requestProject: project };
    await this.context.members.calls(StorageAgentService).createVolumeSnapshot(message, context);
  }
}
