import type { HostContext } from '#members';
import { internalIdentity } from '#replica/state';
import type { StorageHost } from '#storage/host';
import { findPool, findSnapshot, findVolume, forgetVolume } from '#storage/state';
import type { TransferIntent, TransferIntents } from './intents.js';

/** At the start, when storage and instances are up: undoes or finishes what was cut off, by looking at the rows. */
export async function recoverTransfers(context: HostContext, storage: StorageHost, intents: TransferIntents): Promise<void> {
  for (const { number, intent } of intents.unfinished()) {
    try {
      await settle(context, storage, intent);
      intents.settle(number);
      context.log.info({ intent }, 'settled a transfer that was cut off');
    } catch (error) {
      // Kept for the next start: its pool may be away for now.
      context.log.error({ err: error, intent }, 'could not settle a transfer that was cut off');
    }
  }
}

async function settle({ replica, server }: HostContext, storage: StorageHost, intent: TransferIntent): Promise<void> {
  const { reader } = replica;
  const { memberId } = server;
  switch (intent.kind) {
    case 'temporary':
      if (findPool(reader, intent.volume.pool)) await storage.remove(intent.volume);
      return;
    case 'receive-volume':
      if (findPool(reader, intent.volume.pool)) await storage.remove(intent.volume);
      await replica.submit(forgetVolume, { volume: intent.volume, memberId }, { identity: internalIdentity });
      return;
    case 'move': {
      const left = findVolume(reader, intent.to, memberId) ? intent.from : intent.to;
      if (findPool(reader, left.pool)) await storage.remove(left);
      return;
    }
    case 'snapshot': {
      const parent = findVolume(reader, intent.volume, memberId);
      if (parent && !findSnapshot(reader, parent.id, intent.snapshot)) await storage.removeSnapshot(intent.volume, intent.snapshot);
    }
  }
}
