import type { KeyDefinitions } from '#config-keys';
import { fault } from '#kit';

function mountOptions(value: string): void {
  if (!/^[A-Za-z0-9_=.:,-]+$/.test(value)) throw fault.invalid(`Invalid mount options "${value}"`);
}

export const btrfsPoolKeys: KeyDefinitions = {
  size: {
    type: 'size',
    scope: 'member',
    since: 'storage',
    whileInUse: 'at-once',
    doc: {
      short: 'Size of the loop file',
      long: 'Default: a fifth of the disk, at least 5 GiB, at most 30 GiB. The file is sparse, and may grow later.',
    },
  },
  'btrfs.mount_options': {
    type: 'string',
    since: 'storage_btrfs_mount_options',
    default: 'user_subvol_rm_allowed',
    whileInUse: 'at-once',
    check: mountOptions,
    doc: { short: "Options of the pool's mount" },
  },
};
