import { fault } from '#kit';
import { type MigrationHeader, MigrationMemory, type MigrationSnapshot } from '#members';
import type { MountedVolume } from '#storage/host';
import type { BackupConfig } from '../../model/index.js';
import type { ControlLink } from './control-link.js';
import { agreed, header, offered } from './features.js';
import type { FrameLink } from './frame-link.js';
import { indexVersion, sendIndex } from './index-frame.js';
import { sendTree } from './rsync.js';

/** What is sent: an instance or a custom volume, with as many of its snapshots as the other side wants. */
export interface SendPlan {
  /** What the offer says beside the ways of transport: the ids on the disk. */
  offer?: Partial<MigrationHeader>;
  snapshots: readonly MigrationSnapshot[];
  /** For the index frame: with these snapshots only. */
  index(snapshots: readonly string[]): BackupConfig;
  /** Of the volume, or of a snapshot. */
  mount(snapshot?: string): Promise<MountedVolume>;
  compress: boolean;
  bandwidthBytes?: number;
  /**
   * For what runs: it is sent once as it is, and what changed meanwhile once more while this holds it still. Absent for what stands still, or may be
   * inconsistent.
   */
  still?: () => Promise<AsyncDisposable>;
  /** It runs, whether or not it is held still. */
  running: boolean;
}

/** The sending side of a migration, from the first header to the last word. The links are the caller's to close. @throws Fault */
export async function send(
  control: ControlLink,
  link: FrameLink,
  plan: SendPlan,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (what: string, bytes: number) => void },
): Promise<void> {
  try {
    await control.sendHeader({
      ...header(offered(plan.compress)),
      ...plan.offer,
      snapshotNames: plan.snapshots.map(({ name }) => name!),
      snapshots: [...plan.snapshots],
      memory: plan.running ? MigrationMemory.MEMORY_NONE : undefined,
      predump: false,
      indexHeaderVersion: indexVersion,
    });
    const answer = await control.header();
    const features = agreed(answer, plan.compress);
    const names = plan.snapshots.map(({ name }) => name!);
    const wanted = answer.refresh ? names.filter((name) => answer.snapshotNames.includes(name)) : names;
    const ended = control.outcome();
    // Told below; until then it is no unhandled rejection.
    ended.catch(() => {});
    const abort = new AbortController();
    const whole = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
    // The other side may fail at any time: then nothing more is sent.
    void ended.then(
      ({ success }) => !success && abort.abort(),
      () => abort.abort(),
    );
    const sendOne = async (snapshot?: string): Promise<void> => {
      await using mounted = await plan.mount(snapshot);
      const onBytes = (bytes: number): void => onProgress?.(snapshot ?? '', bytes);
      await sendTree(link, mounted.path, { features, signal: whole, bandwidthBytes: plan.bandwidthBytes, onBytes });
    };
    try {
      if ((answer.indexHeaderVersion ?? 0) >= indexVersion) await sendIndex(link, plan.index(wanted));
      for (const name of wanted) await sendOne(name);
      await sendOne();
      if (plan.running && answer.memory === MigrationMemory.MEMORY_NONE) {
        await using _ = await plan.still?.();
        await sendOne();
      }
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    }
    const { success, message } = await ended;
    if (!success) throw fault.internal(message || 'The other server failed to receive');
  } catch (error) {
    await control.finish(error);
    throw error;
  }
}
