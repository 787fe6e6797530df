import type { ConfigMap, DevicesMap } from '#api-contract';
import { fault } from '#kit';
import {
  addSnapshot,
  deleteSnapshot,
  instance,
  instanceById,
  instanceUrl,
  type NewSnapshotRow,
  relocateInstance,
  rootVolume,
  snapshotNames,
} from '#instances/state';
import { type Command, defineCommand } from '#replica/state';
import { findVolume, insertVolume, insertVolumeSnapshot, moved, removeVolume, volume, volumeSnapshots } from '#storage/state';

export interface InstanceMove {
  id: number;
  to: { project: string; name: string };
  /** With a root disk on the new pool. */
  devices: DevicesMap;
  config: ConfigMap;
  profiles: readonly string[];
  /** Of its snapshots, each with a root disk on the new pool. */
  snapshotDevices: Record<string, DevicesMap>;
  /** Its snapshots stay behind, and go. */
  instanceOnly: boolean;
}

/**
 * An instance gets another pool, project or both, and perhaps a name: all rows in one command, once the bytes are there under the new volume's name.
 * Whether this has happened is seen by the new volume's row. @throws Fault conflict
 */
export const moveInstance: Command<InstanceMove> = defineCommand({
  name: 'transfer.moveInstance',
  async run(ctx, { id, to, instanceOnly, snapshotDevices, ...rest }) {
    const before = instanceById(ctx.sql, id);
    if (!before) throw fault.notFound('Instance not found');
    if (instanceOnly) {
      for (const name of snapshotNames(ctx.sql, id)) {
        await deleteSnapshot.run(ctx, { project: before.project, instance: before.name, name, quiet: true });
      }
    }
    const from = volume(ctx.sql, rootVolume(before), before.memberId);
    const taken = volumeSnapshots(ctx.sql, from.id);
    await relocateInstance.run(ctx, { id, ...to, ...rest, snapshotDevices });
    const after = instanceById(ctx.sql, id)!;
    const target = rootVolume(after);
    if (findVolume(ctx.sql, target, before.memberId)) throw fault.conflict('Volume by that name already exists');
    const { memberId, contentType, description, config } = from;
    const made = insertVolume(ctx, { ...target, memberId, contentType, description, config, dropUnknownKeys: true });
    for (const { name, description: text, config: its, expiresAt } of taken) {
      insertVolumeSnapshot(ctx, target, { name, description: text, config: its, expiresAt: expiresAt ? new Date(expiresAt) : undefined }, memberId);
    }
    moved(ctx, from, made);
    removeVolume(ctx, from, memberId);
    ctx.emit({
      action: 'instance-renamed',
      source: instanceUrl(to.project, to.name),
      project: to.project,
      context: { old_name: before.name, project: before.project },
    });
  },
});

/** Snapshots that a refresh brought, whose bytes are there. */
export const addSnapshots: Command<{ project: string; name: string; snapshots: readonly NewSnapshotRow[] }> = defineCommand({
  name: 'transfer.addSnapshots',
  run(ctx, { project, name, snapshots }) {
    const of = instance(ctx.sql, project, name);
    for (const one of snapshots) addSnapshot(ctx, of, one);
  },
});
