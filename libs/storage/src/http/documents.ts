import { zeroTime, type StoragePool, type StorageVolume } from '#api-contract';
import { memberName } from '#cluster/state';
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

/** `specific`: with the keys that only this member has; in a cluster they are shown to who asks a member by name. */
export function poolDocument(
  reader: Reader,
  record: PoolRecord,
  here: Here,
  caller: Caller,
  unavailable: readonly string[],
  specific: boolean,
): StoragePool {
  return {
    // Config may say where secrets of a storage cluster lie: only who may do everything sees it.
    config: caller.admin ? (specific ? configOn(record, here.memberId) : record.config) : {},
    description: record.description,
    name: record.name,
    driver: record.driver,
    used_by: visible(poolUsedBy(reader, record), caller),
    status: unavailable.includes(record.name) ? 'Unavailable' : statusTexts[record.state],
    locations: record.members.map(({ memberId }) => memberName(reader, memberId)),
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
    location: record.memberId === 0 ? '' : memberName(reader, record.memberId),
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
