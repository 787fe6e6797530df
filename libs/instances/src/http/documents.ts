import { epoch, statusText, zeroTime, type Instance, type InstanceSnapshot, type InstanceState } from '#api-contract';
import { type InstanceRecord, type SnapshotRecord } from '../state/index.js';

/** The name of a member by its id; `none` when standalone. */
export type MemberName = (id: number) => string;

export function instanceDocument(record: InstanceRecord, memberName: MemberName): Instance {
  return {
    architecture: record.architecture,
    config: record.config,
    devices: record.devices,
    ephemeral: record.ephemeral,
    profiles: record.profiles,
    stateful: record.stateful,
    description: record.description,
    created_at: record.createdAt,
    expanded_config: record.expandedConfig,
    expanded_devices: record.expandedDevices,
    name: record.name,
    status: statusText[record.status],
    status_code: record.status,
    last_used_at: record.lastUsedAt || epoch,
    location: memberName(record.memberId),
    type: record.type,
    project: record.project,
  };
}

/** `size` is -1 where nobody measured: recursion over thousands of snapshots must not touch the disk. */
export function snapshotDocument(snapshot: SnapshotRecord, of: InstanceRecord): InstanceSnapshot {
  return {
    expires_at: snapshot.expiresAt || zeroTime,
    architecture: of.architecture,
    config: snapshot.config,
    created_at: snapshot.createdAt,
    devices: snapshot.devices,
    ephemeral: snapshot.ephemeral,
    expanded_config: snapshot.config,
    expanded_devices: { ...of.expandedDevices, ...snapshot.devices },
    last_used_at: zeroTime,
    name: snapshot.name,
    profiles: of.profiles,
    stateful: snapshot.stateful,
    size: -1,
  };
}

/** The state of what does not run; of what does, until its member says more. */
export const stateAtRest = (record: Pick<InstanceRecord, 'status'>): InstanceState => ({
  status: statusText[record.status],
  status_code: record.status,
  disk: {},
  memory: { usage: 0, usage_peak: 0, swap_usage: 0, swap_usage_peak: 0 },
  network: null,
  pid: 0,
  processes: 0,
  cpu: { usage: 0 },
});

/** Whether it has processes, by what was last recorded. */
export const isUp = ({ status }: Pick<InstanceRecord, 'status'>): boolean => status !== 102 && status !== 112;
