/** A path or name as one file name, LXD's encoding: slashes become dashes, dashes are doubled. */
export const encodePath = (path: string): string => path.replaceAll('-', '--').replaceAll('/', '-');

/** A word of an fstab line, as lxc.mount.entry holds it. */
export const fstabWord = (word: string): string =>
  word.replaceAll('\\', '\\134').replaceAll(' ', '\\040').replaceAll('\t', '\\011').replaceAll('#', '\\043');

/** `/a//b/` → `a/b`: where a disk appears, below the root. */
export const relativePath = (path: string): string => path.split('/').filter(Boolean).join('/');
