import { checkEtag } from '#api-contract';
import { fault } from '#kit';
import { defineCommand, type CommandContext } from '#replica/state';
import { withIdmapOf, type VolumeRef } from '../model/index.js';
import { snapshotEtag, volumeEtag } from './etags.js';
import { findVolume, snapshot, volume, volumeUrl, volumeUsedBy } from './queries.js';
import {
  insertVolume,
  insertVolumeSnapshot,
  moved,
  removeVolume,
  removeVolumeSnapshot,
  renameVolume,
  renameVolumeSnapshot,
  updateVolume,
  type NewSnapshot,
  type NewVolume,
} from './volume-steps.js';

/** Commands for volumes that belong to storage itself: custom ones, and the cache of images. */
export const createVolume = defineCommand<NewVolume & { snapshots?: (Omit<NewSnapshot, 'expiresAt'> & { expiresAt?: string })[] }>({
  name: 'storage.createVolume',
  run(ctx, { snapshots = [], ...given }) {
    insertVolume(ctx, given);
    for (const { expiresAt, ...taken } of snapshots) {
      insertVolumeSnapshot(ctx, given, { ...taken, expiresAt: expiresAt ? new Date(expiresAt) : undefined }, given.memberId);
    }
    emit(ctx, 'storage-volume-created', given);
  },
});

/** Undoes createVolume: no event, no check. */
export const forgetVolume = defineCommand<{ volume: VolumeRef; memberId: number }>({
  name: 'storage.forgetVolume',
  run: (ctx, payload) => removeVolume(ctx, payload.volume, payload.memberId),
});

/** The bytes are gone already, or go next. @throws Fault invalid while something names it, or an instance owns it */
export const deleteVolume = defineCommand<{ volume: VolumeRef; memberId: number }>({
  name: 'storage.deleteVolume',
  run(ctx, payload) {
    const record = volume(ctx.sql, payload.volume, payload.memberId);
    if (record.type !== 'image' && volumeUsedBy(ctx.sql, record).length > 0) throw fault.invalid('The storage volume is still in use');
    removeVolume(ctx, record, payload.memberId);
    emit(ctx, 'storage-volume-deleted', record);
  },
});

/** An image has been unpacked into a pool of a member. Repeating it is fine. */
export const recordImageVolume = defineCommand<{ pool: string; fingerprint: string; memberId: number }>({
  name: 'storage.recordImageVolume',
  run(ctx, { pool, fingerprint, memberId }) {
    const ref: VolumeRef = { pool, project: 'default', type: 'image', name: fingerprint };
    if (!findVolume(ctx.sql, ref, memberId)) insertVolume(ctx, { ...ref, memberId });
  },
});

export const changeVolume = defineCommand<{
  volume: VolumeRef;
  memberId: number;
  put: { description: string; config: Record<string, string> };
  ifMatch?: string;
}>({
  name: 'storage.changeVolume',
  run(ctx, payload) {
    const before = volume(ctx.sql, payload.volume, payload.memberId);
    checkEtag(payload.ifMatch, volumeEtag(before));
    updateVolume(ctx, before, payload.put, payload.memberId);
    emit(ctx, 'storage-volume-updated', before);
  },
});

/** The map that the ids of a custom volume's files have on disk now. */
export const recordVolumeIdmap = defineCommand<{ volume: VolumeRef; memberId: number; idmap: string }>({
  name: 'storage.recordVolumeIdmap',
  run(ctx, { volume: ref, memberId, idmap }) {
    const before = volume(ctx.sql, ref, memberId);
    const config = { ...before.config, 'volatile.idmap.last': idmap, 'volatile.idmap.next': idmap };
    updateVolume(ctx, before, { description: before.description, config }, memberId);
  },
});

export const renameCustomVolume = defineCommand<{ volume: VolumeRef; newName: string; memberId: number }>({
  name: 'storage.renameVolume',
  run(ctx, payload) {
    const after = renameVolume(ctx, payload.volume, payload.newName, payload.memberId);
    emit(ctx, 'storage-volume-renamed', after, { old_name: payload.volume.name });
  },
});

/** A copy stands ready elsewhere: those who use the old one follow, and the old row goes. */
export const moveVolume = defineCommand<{ from: VolumeRef; to: VolumeRef; memberId: number }>({
  name: 'storage.moveVolume',
  run(ctx, { from, to, memberId }) {
    const before = volume(ctx.sql, from, memberId);
    const after = volume(ctx.sql, to, memberId);
    moved(ctx, before, after);
    removeVolume(ctx, before, memberId);
    emit(ctx, 'storage-volume-deleted', before);
  },
});

export const restoredVolume = defineCommand<{ volume: VolumeRef; snapshot: string; memberId: number }>({
  name: 'storage.restoredVolume',
  run(ctx, payload) {
    const record = volume(ctx.sql, payload.volume, payload.memberId);
    const was = snapshot(ctx.sql, record.id, payload.snapshot);
    const config = withIdmapOf(was.config, record.config);
    updateVolume(ctx, record, { description: record.description, config }, payload.memberId);
    emit(ctx, 'storage-volume-restored', record, { snapshot: payload.snapshot });
  },
});

interface SnapshotPayload {
  volume: VolumeRef;
  memberId: number;
  name: string;
}

/** Without a description and config of its own it has those of the volume. */
export const createSnapshot = defineCommand<SnapshotPayload & { expiresAt: string; description?: string; config?: Record<string, string> }>({
  name: 'storage.createSnapshot',
  run(ctx, payload) {
    const expiresAt = payload.expiresAt ? new Date(payload.expiresAt) : undefined;
    const { name, description, config } = payload;
    insertVolumeSnapshot(ctx, payload.volume, { name, description, config, expiresAt }, payload.memberId);
    emitSnapshot(ctx, 'created', payload);
  },
});

export const deleteSnapshot = defineCommand<SnapshotPayload>({
  name: 'storage.deleteSnapshot',
  run(ctx, payload) {
    removeVolumeSnapshot(ctx, payload.volume, payload.name, payload.memberId);
    emitSnapshot(ctx, 'deleted', payload);
  },
});

export const renameSnapshot = defineCommand<SnapshotPayload & { newName: string }>({
  name: 'storage.renameSnapshot',
  run(ctx, payload) {
    renameVolumeSnapshot(ctx, payload.volume, payload.name, payload.newName, payload.memberId);
    emitSnapshot(ctx, 'renamed', { ...payload, name: payload.newName }, { old_name: payload.name });
  },
});

export const changeSnapshot = defineCommand<SnapshotPayload & { put: { description: string; expiresAt: string }; ifMatch?: string }>({
  name: 'storage.changeSnapshot',
  run(ctx, payload) {
    const parent = volume(ctx.sql, payload.volume, payload.memberId);
    const current = snapshot(ctx.sql, parent.id, payload.name);
    checkEtag(payload.ifMatch, snapshotEtag(current));
    const { description, expiresAt } = payload.put;
    ctx.sql.run('UPDATE storage_volume_snapshots SET description = ?, expires_at = ? WHERE id = ?', description, expiresAt, current.id);
    emitSnapshot(ctx, 'updated', payload);
  },
});

function emit(ctx: CommandContext, action: string, of: VolumeRef, context?: Record<string, unknown>): void {
  ctx.emit({ action, source: volumeUrl(of), project: of.project, context });
}

function emitSnapshot(ctx: CommandContext, what: string, { volume: of, name }: SnapshotPayload, context?: Record<string, unknown>): void {
  ctx.emit({ action: `storage-volume-snapshot-${what}`, source: volumeUrl(of, name), project: of.project, context });
}
