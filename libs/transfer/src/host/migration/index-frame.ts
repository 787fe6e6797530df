import { fault } from '#kit';
import { type BackupConfig, backupConfigFrom, indexMaxBytes } from '../../model/index.js';
import type { FrameLink } from './frame-link.js';

/** The version that both sides must know: 1 is the only one there is. */
export const indexVersion = 1;

/** Fields as Go's encoder names what has no name of its own. */
const goNames: Record<keyof BackupConfig, string> = {
  container: 'Container',
  snapshots: 'Snapshots',
  pool: 'Pool',
  profiles: 'Profiles',
  volume: 'Volume',
  volume_snapshots: 'VolumeSnapshots',
};

/** Says what comes, and waits for the other side to take note. @throws Fault what the other side has against it */
export async function sendIndex(link: FrameLink, config: BackupConfig): Promise<void> {
  const named = Object.fromEntries(Object.entries(config).map(([key, value]) => [goNames[key as keyof BackupConfig], value]));
  await link.send(Buffer.from(JSON.stringify({ config: named })));
  await link.end();
  const answer = parse(await link.text(64 * 1024)) as { StatusCode?: number; Error?: string };
  if (answer.StatusCode !== 200) throw fault.internal(`Failed negotiating migration options: ${String(answer.Error ?? answer.StatusCode)}`);
}

/** @throws Fault invalid */
export async function receiveIndex(link: FrameLink, refresh: boolean): Promise<BackupConfig | undefined> {
  const { config } = parse(await link.text(indexMaxBytes)) as { config?: Record<string, unknown> | null };
  await link.send(Buffer.from(JSON.stringify({ StatusCode: 200, Error: '', Refresh: refresh })));
  await link.end();
  if (!config || typeof config !== 'object') return undefined;
  // Go reads names whatever their case, and so do we.
  const plain = (key: string): string => key.replaceAll('_', '').toLowerCase();
  const ours = Object.keys(goNames);
  return backupConfigFrom(
    Object.fromEntries(Object.entries(config).map(([key, value]) => [ours.find((name) => plain(name) === plain(key)) ?? key, value])),
  );
}

function parse(text: string): object {
  try {
    const value = JSON.parse(text) as unknown;
    if (value !== null && typeof value === 'object') return value;
  } catch {
    // Answered below.
  }
  throw fault.invalid('The other server sent an index that cannot be read');
}
