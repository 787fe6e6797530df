import { checkEtag } from '#api-contract';
import { fault } from '#kit';
import { defineCommand } from '#replica/state';
import { insertVolumeSnapshot, removeVolumeSnapshot, renameVolumeSnapshot } from '#storage/state';
import { checkSnapshotName } from '../model/index.js';
import { findSnapshot, instance, snapshot, snapshotEtag } from './queries.js';
import { emit, rootVolume } from './steps.js';

interface Named {
  project: string;
  instance: string;
  name: string;
}

/** Before the snapshot is made on disk, of the instance as it is now. `expiresAt` is '' or a time. */
export const createSnapshot = defineCommand<Named & { expiresAt: string; stateful: boolean }, { id: number }>({
  name: 'instances.createSnapshot',
  run(ctx, { project, instance: parent, name, expiresAt, stateful }) {
    checkSnapshotName(name);
    const of = instance(ctx.sql, project, parent);
    if (findSnapshot(ctx.sql, of.id, name)) throw fault.conflict(`Snapshot "${parent}/${name}" already exists`);
    const id = ctx.nextId('instance_snapshots');
    ctx.sql.run(
      `INSERT INTO instance_snapshots (id, instance_id, name, description, ephemeral, stateful, config, devices, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      of.id,
      name,
      of.description,
      Number(of.ephemeral),
      Number(stateful),
      JSON.stringify(of.config),
      JSON.stringify(of.devices),
      ctx.now.toISOString(),
      expiresAt,
    );
    insertVolumeSnapshot(ctx, rootVolume(of), { name, expiresAt: expiresAt === '' ? undefined : new Date(expiresAt) }, of.memberId);
    emit(ctx, 'instance-snapshot-created', { project, name: parent, snapshot: name });
    return { id };
  },
});

/** The bytes are gone already. Nothing there is success; `quiet` for the undo of a create. */
export const deleteSnapshot = defineCommand<Named & { quiet?: boolean }>({
  name: 'instances.deleteSnapshot',
  run(ctx, { project, instance: parent, name, quiet = false }) {
    const of = instance(ctx.sql, project, parent);
    const found = findSnapshot(ctx.sql, of.id, name);
    if (!found) return;
    ctx.sql.run('DELETE FROM instance_snapshots WHERE id = ?', found.id);
    removeVolumeSnapshot(ctx, rootVolume(of), name, of.memberId);
    if (!quiet) emit(ctx, 'instance-snapshot-deleted', { project, name: parent, snapshot: name });
  },
});

export const renameSnapshot = defineCommand<Named & { newName: string }>({
  name: 'instances.renameSnapshot',
  run(ctx, { project, instance: parent, name, newName }) {
    checkSnapshotName(newName);
    const of = instance(ctx.sql, project, parent);
    const found = snapshot(ctx.sql, of.id, name);
    if (findSnapshot(ctx.sql, of.id, newName)) throw fault.conflict(`Name "${newName}" already in use`);
    ctx.sql.run('UPDATE instance_snapshots SET name = ? WHERE id = ?', newName, found.id);
    renameVolumeSnapshot(ctx, rootVolume(of), name, newName, of.memberId);
    emit(ctx, 'instance-snapshot-renamed', { project, name: parent, snapshot: newName }, { old_name: name });
  },
});

export const updateSnapshot = defineCommand<Named & { expiresAt: string; ifMatch?: string }>({
  name: 'instances.updateSnapshot',
  run(ctx, { project, instance: parent, name, expiresAt, ifMatch }) {
    const found = snapshot(ctx.sql, instance(ctx.sql, project, parent).id, name);
    checkEtag(ifMatch, snapshotEtag(found));
    ctx.sql.run('UPDATE instance_snapshots SET expires_at = ? WHERE id = ?', expiresAt, found.id);
    emit(ctx, 'instance-snapshot-updated', { project, name: parent, snapshot: name });
  },
});
