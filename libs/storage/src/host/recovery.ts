import { idmapFromJson } from '#host-kit';
import type { Logger } from '#kit';
import type { HostContext } from '#members';
import { internalIdentity } from '#replica/state';
import { configOn, findPool, findSnapshot, findVolume, forgetPool, forgetVolume, pools } from '../state/index.js';
import type { Intent, Intents } from './intents.js';
import type { LocalStorage } from './local-storage.js';
import type { Pools } from './pools.js';

/**
 * At the start, after the pools are mounted: what was cut off is undone or finished by looking. Volumes that were being made are removed (their owner, if
 * it has a row, finds nothing and undoes its part); removals, renames and restores are finished.
 */
export async function recoverStorage(context: HostContext, poolsHere: Pools, intents: Intents, storage: LocalStorage): Promise<void> {
  for (const { id, intent } of intents.unfinished()) {
    try {
      await settle(context, poolsHere, storage, intent);
      intents.settle(id);
      context.log.info({ intent }, 'settled work that was cut off');
    } catch (error) {
      // Kept for the next start: its pool may be away for now.
      context.log.error({ err: error, intent }, 'could not settle work that was cut off');
    }
  }
  await sweepImages(context, poolsHere, storage, context.log);
}

async function settle(context: HostContext, poolsHere: Pools, storage: LocalStorage, intent: Intent): Promise<void> {
  const { replica, server } = context;
  const as = { identity: internalIdentity };
  switch (intent.kind) {
    case 'create-volume':
    case 'remove-volume':
      if (findPool(replica.reader, intent.volume.pool)) await storage.remove(intent.volume);
      return;
    case 'create-custom':
      if (findPool(replica.reader, intent.volume.pool)) await storage.remove(intent.volume);
      await replica.submit(forgetVolume, { volume: intent.volume, memberId: server.memberId }, as);
      return;
    case 'rename-volume': {
      const renamed = { ...intent.volume, name: intent.newName };
      // The row says which name is right.
      if (findVolume(replica.reader, renamed, server.memberId)) await storage.rename(intent.volume, intent.newName);
      else if (findVolume(replica.reader, intent.volume, server.memberId)) await storage.rename(renamed, intent.volume.name);
      return;
    }
    case 'snapshot':
      if (findPool(replica.reader, intent.volume.pool)) await storage.removeSnapshot(intent.volume, intent.snapshot);
      return;
    case 'custom-snapshot': {
      const parent = findVolume(replica.reader, intent.volume, server.memberId);
      if (parent && !findSnapshot(replica.reader, parent.id, intent.snapshot)) await storage.removeSnapshot(intent.volume, intent.snapshot);
      return;
    }
    case 'remove-custom':
      if (!findVolume(replica.reader, intent.volume, server.memberId)) await storage.remove(intent.volume);
      return;
    case 'remap':
      if (findVolume(replica.reader, intent.volume, server.memberId)) await storage.remap(intent.volume, idmapFromJson(intent.to));
      return;
    case 'restore':
      if (findVolume(replica.reader, intent.volume, server.memberId)) await storage.restore(intent.volume, intent.snapshot);
      return;
    case 'make-pool': {
      const record = findPool(replica.reader, intent.pool);
      const mine = record?.members.find(({ memberId }) => memberId === server.memberId);
      if (!record || mine?.state === 'created') return;
      if (intent.made) await poolsHere.destroy(record.name, record.driver, configOn(record, server.memberId));
      else await poolsHere.discard(record.name);
      return;
    }
    case 'create-pool':
    case 'remove-pool': {
      const record = findPool(replica.reader, intent.pool);
      // Made, and used since; or its removal had not begun.
      if (!record || record.state === 'created') return;
      if (intent.kind === 'remove-pool' || intent.made) await poolsHere.destroy(record.name, record.driver, configOn(record, server.memberId));
      else await poolsHere.discard(record.name);
      await replica.submit(forgetPool, { name: record.name }, as);
    }
  }
}

async function sweepImages(context: HostContext, poolsHere: Pools, storage: LocalStorage, log: Logger): Promise<void> {
  for (const { name } of pools(context.replica.reader)) {
    try {
      await storage.images.sweep(poolsHere.driver(name));
    } catch (error) {
      log.debug({ err: error, pool: name }, 'images of a pool were not swept');
    }
  }
}
