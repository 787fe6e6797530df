import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { RootDir } from '#host-kit';

/** Removes a directory of ours. Never crosses a mount: what a device left mounted there is somebody's data. Nothing there is success. */
export async function removeTree(path: string): Promise<void> {
  if (!existsSync(path)) return;
  using parent = RootDir.open(dirname(path));
  await parent.removeTree(basename(path));
}
