import { ejectMount, injectMount, listMounts, RootDir, type InjectOptions, type Owner } from '#host-kit';

const rootOf = (pid: number): RootDir => RootDir.open(`/proc/${pid}/root`);

/**
 * Mounts something of the host into a running container. The place is made if need be, as the container's root would have; no symlink of the
 * container leads anywhere else.
 * @param target relative to the root
 */
export async function mountInto(
  pid: number,
  source: string,
  target: string,
  options: InjectOptions & { file: boolean; owner?: Owner },
): Promise<void> {
  {
    using root = rootOf(pid);
    const slash = target.lastIndexOf('/');
    if (options.file) {
      if (slash > 0) root.makeDirectories(target.slice(0, slash), 0o755, options.owner);
      if (!root.exists(target)) {
        using _ = root.openForWriting(target, { mode: 0o644, owner: options.owner });
      }
    } else root.makeDirectories(target, 0o755, options.owner);
  }
  await injectMount(pid, source, `/${target}`, options);
}

/** Takes it out again; not mounted is success. */
export async function unmountFrom(pid: number, target: string): Promise<void> {
  let mounted: boolean;
  try {
    mounted = listMounts(pid).some((entry) => entry.target === `/${target}`);
  } catch {
    return; // The container ended.
  }
  if (mounted) await ejectMount(pid, `/${target}`);
}
