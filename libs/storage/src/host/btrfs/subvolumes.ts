import { chmod, chown } from 'node:fs/promises';
import { fault } from '#kit';
import { removeIfEmpty } from '../files.js';
import * as command from './btrfs.command.js';

/**
 * A volume is a subvolume, and a guest may have made more inside it. A btrfs snapshot stops at inner subvolumes (they show as empty directories), so each
 * is taken on its own, at its place in the copy.
 */
export async function snapshotDeep(from: string, to: string, options: { readOnly: boolean }): Promise<void> {
  const inner = await command.nestedSubvolumes(from);
  if (inner.length === 0) return command.snapshotSubvolume(from, to, options.readOnly);
  await command.snapshotSubvolume(from, to);
  for (const relative of inner) {
    await removeIfEmpty(`${to}/${relative}`);
    await command.snapshotSubvolume(`${from}/${relative}`, `${to}/${relative}`);
  }
  // Read-only last, children first: nothing can be put into a read-only parent.
  for (const relative of inner.reverse()) {
    if (await command.isReadOnly(`${from}/${relative}`)) await command.setReadOnly(`${to}/${relative}`, true);
  }
  if (options.readOnly) await command.setReadOnly(to, true);
}

/**
 * Deletes a subvolume with all inside it. Nothing there is success. `quotas`: the filesystem keeps quota groups; kernels before 6.12 leave a deleted
 * subvolume's group for ever, newer ones refuse to destroy it and clean up themselves.
 */
export async function deleteDeep(path: string, options: { quotas: boolean }): Promise<void> {
  if (!(await command.isSubvolume(path))) return;
  const group = options.quotas ? await command.quotaGroup(path) : 'off';
  if (typeof group === 'object') await command.destroyQuotaGroup(group.id, path);
  if (!(await deleteQuick(path))) {
    const inner = await command.nestedSubvolumes(path);
    for (const relative of ['', ...inner]) await command.setReadOnly(relative === '' ? path : `${path}/${relative}`, false);
    for (const relative of inner.reverse()) {
      if (!(await deleteQuick(`${path}/${relative}`))) throw fault.internal('Failed to delete a nested subvolume');
    }
    if (!(await deleteQuick(path))) throw fault.internal('Failed to delete a subvolume');
  }
}

async function deleteQuick(path: string): Promise<boolean> {
  if (await command.deleteOneSubvolume(path)) return true;
  try {
    // A user namespace's owner and mode can stand in the way of root without capabilities; harmless otherwise.
    await chown(path, 0, 0);
    await chmod(path, 0o700);
  } catch {
    return false;
  }
  return command.deleteOneSubvolume(path);
}
