import { zeroTime, type StoragePool, type StorageVolume } from '#api-contract';
import type { Caller } from '#http-kit';
import type { Reader } from '#replica/state';
import type { VolumeRef } from '../model/index.js';
import { configOn, poolUsedBy, volumeUsedBy, type PoolRecord, type SnapshotRecord, type VolumeRecord } from '../state/index.js';

/** What documents need to know of the member that answers. */
export interface Here {
  memberId: number;
  memberName(): string;
}

const statusTexts = { pending: 'Pending', created: 'Created', errored: 'Errored', removing: 'Pending' } as const;

/** Of other members the name is not known yet: one member answers for itself. */
const locationOf = (memberId: number, here: Here): string => (memberId === here.memberId ? here.memberName() : '');

export function poolDocument(reader: Reader, record: PoolRecord, here: Here, caller: Caller, unavailable: readonly string[]): StoragePool {
  return {
    // Config may say where secrets of a storage cluster lie: only who may do everything sees it.
    config: caller.admin ? configOn(record, here.memberId) : {},
    description: record.description,
    name: record.name,
    driver: record.driver,
    used_by: visible(poolUsedBy(reader, record), caller),
    status: unavailable.includes(record.name) ? 'Unavailable' : statusTexts[record.state],
    locations: record.members.map(({ memberId }) => locationOf(memberId, here)),
  };
}

/** A volume, or one of its snapshots, in a list or alone. */
export function volumeDocument(reader: Reader, record: VolumeRecord, here: Here, caller: Caller, snapshot?: SnapshotRecord): StorageVolume {
  const shown = snapshot ?? record;
  return {
    config: shown.config,
    description: shown.description,
    name: snapshot ? `${record.name}/${snapshot.name}` : record.name,
    type: record.type,
    used_by: visible(volumeUsedBy(reader, record, snapshot?.name), caller),
    location: record.memberId === 0 ? '' : locationOf(record.memberId, here),
    content_type: record.contentType,
    project: record.project,
    created_at: shown.createdAt || zeroTime,
  };
}

export const snapshotDocument = (record: VolumeRecord, snapshot: SnapshotRecord): Record<string, unknown> => ({
  description: snapshot.description,
  expires_at: snapshot.expiresAt || zeroTime,
  name: snapshot.name,
  config: snapshot.config,
  content_type: record.contentType,
  created_at: snapshot.createdAt || zeroTime,
});

/** A restricted caller sees only what is in its projects. */
function visible(urls: string[], caller: Caller): string[] {
  if (caller.admin) return urls;
  return urls.filter((url) => (caller.projects ?? []).includes(new URL(url, 'http://x').searchParams.get('project') ?? 'default'));
}

export const messageOf = ({ pool, project, type, name }: VolumeRef): { pool: string; project: string; type: string; name: string } => ({
  pool,
  project,
  type,
  name,
});
