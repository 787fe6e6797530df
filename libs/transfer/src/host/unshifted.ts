import { mkdir, rmdir } from 'node:fs/promises';
import { bindIdmapped, type Idmap, supportsIdmappedMounts, unmount, UserNamespace } from '#host-kit';
import { fault } from '#kit';

/** A directory seen with the owners that its container sees. */
export interface UnshiftedView extends AsyncDisposable {
  readonly path: string;
}

/**
 * Shows a tree whose owners on disk are those of the host with the owners of the container: a read-only mount at `at` through the map the other way round.
 * Without a map the tree is shown as it is, and nothing is mounted. @throws Fault unsupported where the file system cannot be mounted so
 */
export async function unshifted(path: string, onDisk: Idmap, at: string): Promise<UnshiftedView> {
  if (onDisk.length === 0) return { path, [Symbol.asyncDispose]: async () => {} };
  using namespace = await UserNamespace.create(onDisk.map((entry) => ({ ...entry, hostId: entry.nsId, nsId: entry.hostId })));
  if (!supportsIdmappedMounts(path, namespace))
    throw fault.unsupported('The storage pool cannot show the files of a container with other owners', { status: 500 });
  await mkdir(at, { recursive: true, mode: 0o700 });
  bindIdmapped(path, at, namespace, { readonly: true });
  return {
    path: at,
    async [Symbol.asyncDispose]() {
      await unmount(at);
      await rmdir(at);
    },
  };
}
