import { ejectMount, injectMount, RootDir, toHost, type InjectOptions, type Owner } from '#host-kit';
import { Fault } from '#kit';
import type { DeviceOwner } from '../device-driver.js';

/**
 * Mounts something of the host into a running container. The place is made if need be; no symlink of the container leads anywhere else.
 * @param target relative to the root
 */
export async function mountInto(
  pid: number,
  source: string,
  target: string,
  options: InjectOptions & { file: boolean; owner?: Owner },
): Promise<void> {
  makePlace(pid, target, options);
  await injectMount(pid, source, `/${target}`, options);
}

function makePlace(pid: number, target: string, { file, owner }: { file: boolean; owner?: Owner }): void {
  using root = RootDir.open(`/proc/${pid}/root`);
  if (!file) return root.makeDirectories(target, 0o755, owner);
  const slash = target.lastIndexOf('/');
  if (slash > 0) root.makeDirectories(target.slice(0, slash), 0o755, owner);
  if (!root.exists(target)) root.openForWriting(target, { mode: 0o644, owner })[Symbol.dispose]();
}

/** The container's root, as the host sees it; undefined when it is ours. */
export const rootOwner = ({ idmap }: DeviceOwner): Owner | undefined =>
  idmap && { uid: toHost(idmap, 'uid', 0) ?? 0, gid: toHost(idmap, 'gid', 0) ?? 0 };

/**
 * Takes it out again, and the place with it, if it is an empty file or folder as `mountInto` makes them. Not mounted, or a container that ended, is success.
 * The path may lead over symlinks (/var/run), so that only trying tells.
 */
export async function unmountFrom(pid: number, target: string): Promise<void> {
  try {
    await ejectMount(pid, `/${target}`);
  } catch (error) {
    const { detail } = Fault.from(error);
    if (!/umount: (Invalid argument|No such file or directory)|namespace: /.test(detail ?? '')) throw error;
    return;
  }
  removePlace(pid, target);
}

function removePlace(pid: number, target: string): void {
  try {
    using root = RootDir.open(`/proc/${pid}/root`);
    const found = root.stat(target, false);
    if (found.isDirectory()) root.removeDirectory(target);
    else if (found.isFile() && found.size === 0) root.unlink(target);
  } catch (error) {
    // What the container has there keeps its place.
    if (!(error instanceof Fault)) throw error;
  }
}
