import { fault } from '#kit';
import { type MigrationHeader, MigrationMemory, type MigrationSnapshot } from '#members';
import { type BackupConfig, checkPlainName } from '../../model/index.js';
import type { ControlLink } from './control-link.js';
import { agreed, header } from './features.js';
import type { FrameLink } from './frame-link.js';
import { indexVersion, receiveIndex } from './index-frame.js';
import { receiveTree } from './rsync.js';

/** What the sender offers, cut down to what was asked for. */
export interface Offer {
  header: MigrationHeader;
  snapshots: readonly MigrationSnapshot[];
  index?: BackupConfig;
}

/** Receives the next tree: snapshots first, in order, and the volume itself last. */
export type Receive = (what: string, path: string, signal?: AbortSignal) => Promise<void>;

export interface ReceivePlan {
  compress: boolean;
  /** It is there already, and becomes what the sender has. */
  refresh: boolean;
  /** Which of the snapshots offered are wanted; each of them is then sent. */
  choose(offered: readonly MigrationSnapshot[]): Promise<readonly MigrationSnapshot[]>;
  /** Makes it of what comes: `receive` once for each snapshot chosen, in order, then `receiveVolume`. */
  make(offer: Offer, receive: { snapshot: Receive; volume: Receive }): Promise<void>;
}

/** The receiving side of a migration. The links are the caller's to close. @throws Fault; then `make` has cleaned up */
export async function receive(
  control: ControlLink,
  link: FrameLink,
  plan: ReceivePlan,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (what: string, bytes: number) => void },
): Promise<void> {
  try {
    const offer = await control.header();
    const features = agreed(offer, plan.compress);
    const offered = offeredSnapshots(offer);
    // They become names of directories.
    for (const { name } of offered) checkPlainName(name ?? '');
    const snapshots = await plan.choose(offered);
    // A sender whose container runs sends its files once more when it is held still.
    const twice = offer.memory === MigrationMemory.MEMORY_NONE;
    if (offer.memory !== undefined && !twice)
      throw fault.unsupported("Unable to perform container live migration. CRIU isn't installed on the destination server");
    const withIndex = (offer.indexHeaderVersion ?? 0) >= indexVersion;
    await control.sendHeader({
      ...header({ ...features, bidirectional: true }),
      snapshotNames: snapshots.map(({ name }) => name!),
      snapshots: [...snapshots],
      refresh: plan.refresh,
      predump: false,
      memory: twice ? MigrationMemory.MEMORY_NONE : undefined,
      indexHeaderVersion: withIndex ? indexVersion : 0,
    });
    const failed = control.outcome();
    const abort = new AbortController();
    let why: Error | undefined;
    const fail = (error: Error): void => {
      why ??= error;
      abort.abort(error);
    };
    // The sender can only say that it failed; how it ended is ours to say.
    void failed.then(({ success, message }) => !success && fail(fault.internal(message || 'The other server failed to send')), fail);
    const whole = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    let trees = 0;
    const one = (what: string, path: string, more: AbortSignal | undefined, last: boolean): Promise<void> =>
      receiveTree(link, path, {
        features,
        // A file changed between two snapshots may have its old size, and its time in whole seconds: the next tree is compared byte by byte. Not the last
        // pass over what runs, for which it is held still.
        thorough: !last && trees++ > 0,
        signal: more ? AbortSignal.any([whole, more]) : whole,
        onBytes: (bytes) => onProgress?.(what, bytes),
      });
    const tree: Receive = (what, path, more) => one(what, path, more, false);
    try {
      const index = withIndex ? await receiveIndex(link, plan.refresh) : undefined;
      await plan.make(
        { header: offer, snapshots, index },
        {
          snapshot: tree,
          volume: async (what, path, more) => {
            await tree(what, path, more);
            if (twice) await one(what, path, more, true);
          },
        },
      );
    } catch (error) {
      throw why ?? error;
    }
    await control.finish();
  } catch (error) {
    await control.finish(error);
    throw error;
  }
}

/** Servers older than LXD 3 say only names. */
function offeredSnapshots({ snapshots, snapshotNames }: MigrationHeader): readonly MigrationSnapshot[] {
  if (snapshots.length === snapshotNames.length) return snapshots;
  return snapshotNames.map((name) => ({ name, config: [], profiles: [], devices: [] }));
}
