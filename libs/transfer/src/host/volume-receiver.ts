import { fault, Undo } from '#kit';
import type { CallContext, HostContext } from '#members';
import type { StorageHost, VolumeRef, VolumeSource } from '#storage/host';
import { createVolume, findVolume, forgetVolume, volume as volumeNamed } from '#storage/state';
import type { TransferIntents } from './intents.js';

export interface ReceivedVolume {
  description: string;
  config: Record<string, string>;
  snapshots: readonly { name: string; description: string; config: Record<string, string>; expiresAt: string }[];
}

/** Custom volumes that come from elsewhere: row and bytes together, or nothing. */
export class VolumeReceiver {
  constructor(
    private readonly context: HostContext,
    private readonly storage: StorageHost,
    private readonly intents: TransferIntents,
  ) {}

  /** @throws Fault conflict (409) for a name that is taken; whatever the source throws */
  async make(ref: VolumeRef, about: ReceivedVolume, source: VolumeSource, call: CallContext, signal: AbortSignal): Promise<void> {
    const { replica, server, log } = this.context;
    const memberId = server.memberId;
    if (findVolume(replica.reader, ref, memberId)) throw fault.conflict('Volume by that name already exists');
    await this.intents.during({ kind: 'receive-volume', volume: ref }, async () => {
      await using undo = new Undo(log);
      const as = { identity: call.identity, requestId: call.requestId };
      // Keys of another driver's pool fall away: what LXD does, and an image of a whole volume should come in.
      const { description, config } = about;
      await replica.submit(createVolume, { ...ref, memberId, description, config, snapshots: [...about.snapshots], dropUnknownKeys: true }, as);
      undo.add('row', () => replica.submit(forgetVolume, { volume: ref, memberId }, as));
      await this.storage.create(ref, volumeNamed(replica.reader, ref, memberId).config, source, { ...call, signal });
      undo.drop();
    });
  }
}
