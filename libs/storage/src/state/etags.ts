import type { PoolRecord, SnapshotRecord, VolumeRecord } from './queries.js';

/** The fields that ETags cover; one tuple for GET and for the check inside the command. */
export const poolEtag = (record: PoolRecord, config: Record<string, string>): unknown => [record.name, record.driver, config];
export const volumeEtag = (record: VolumeRecord): unknown => [record.name, record.type, record.config];
export const snapshotEtag = (record: SnapshotRecord): unknown => [record.description, record.expiresAt];
