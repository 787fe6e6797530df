import { open } from 'node:fs/promises';
import { fault } from '#kit';

const defaultBytes = 10 * 1024 ** 3;
/** QEMU wants whole sectors of whatever size; LXD rounds to this too. */
const unitBytes = 8192;

/**
 * Block volumes of pools that have directories only: one sparse file in the volume's tree, under the name that LXD gives it. Makes the file, or lets it
 * grow. `sizeBytes` 0: as it is, and 10 GiB if it is new. @throws Fault invalid for less than it has
 */
export async function sizeBlockFile(volumePath: string, sizeBytes: number): Promise<void> {
  await using file = await open(`${volumePath}/root.img`, 'a', 0o600);
  const { size } = await file.stat();
  const wanted = Math.ceil((sizeBytes > 0 ? sizeBytes : size || defaultBytes) / unitBytes) * unitBytes;
  if (wanted < size) throw fault.invalid('Block volumes cannot be shrunk: Cannot be shrunk');
  if (wanted > size) await file.truncate(wanted);
}
