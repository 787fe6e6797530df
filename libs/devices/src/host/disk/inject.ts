import { ejectMount, injectMount, type InjectOptions } from '#host-kit';
import { Fault } from '#kit';
import { makeMountpoint } from './mountpoint.js';

/**
 * Mounts something of the host into a running container. The place is made if need be, as the container's root would have; no symlink of the
 * container leads anywhere else.
 * @param target relative to the root
 */
export async function mountInto(pid: number, source: string, target: string, options: InjectOptions & { file: boolean }): Promise<void> {
  await makeMountpoint(pid, target, options.file);
  await injectMount(pid, source, `/${target}`, options);
}

/** Takes it out again; not mounted, or a container that ended, is success. The path may lead over symlinks (/var/run), so that only trying tells. */
export async function unmountFrom(pid: number, target: string): Promise<void> {
  try {
    await ejectMount(pid, `/${target}`);
  } catch (error) {
    const { detail } = Fault.from(error);
    if (!/umount: (Invalid argument|No such file or directory)|namespace: /.test(detail ?? '')) throw error;
  }
}
