import type { OptimizedPlace } from '#storage/host';

/** Name of a stream inside an optimized backup. */
export function streamName(own: 'container' | 'volume', { snapshot, subvolume }: OptimizedPlace): string {
  const place = snapshot === undefined ? own : `${own === 'volume' ? 'volume-snapshots' : 'snapshots'}/${snapshot}`;
  return `backup/${place}${subvolume === '' ? '' : `_${subvolume}`}.bin`;
}
