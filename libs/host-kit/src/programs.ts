import { accessSync, constants, statSync } from 'node:fs';
import { fault } from '#kit';
import { safePath } from './spawn.js';

/** Which Debian package brings a program that Muster may start; the packages of deploy/ come from here. */
export const programPackages: Readonly<Record<string, string>> = {
  bsdtar: 'libarchive-tools',
  btrfs: 'btrfs-progs',
  bzip2: 'bzip2',
  cp: 'coreutils',
  criu: 'criu',
  dnsmasq: 'dnsmasq-base',
  gzip: 'gzip',
  ip: 'iproute2',
  losetup: 'mount',
  lvs: 'lvm2',
  lz4: 'lz4',
  'lxc-attach': 'lxc',
  'lxc-cgroup': 'lxc',
  'lxc-freeze': 'lxc',
  'lxc-info': 'lxc',
  'lxc-start': 'lxc',
  'lxc-stop': 'lxc',
  'lxc-unfreeze': 'lxc',
  lxcfs: 'lxcfs',
  'mkfs.btrfs': 'btrfs-progs',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.vfat': 'dosfstools',
  'mkfs.xfs': 'xfsprogs',
  mksquashfs: 'squashfs-tools',
  mount: 'mount',
  newuidmap: 'uidmap',
  nft: 'nftables',
  nsenter: 'util-linux',
  'ovs-vsctl': 'openvswitch-switch',
  perl: 'perl-base',
  'qemu-img': 'qemu-utils',
  'qemu-system-aarch64': 'qemu-system-arm',
  'qemu-system-x86_64': 'qemu-system-x86',
  rbd: 'ceph-common',
  resize2fs: 'e2fsprogs',
  rsync: 'rsync',
  setfacl: 'acl',
  setpriv: 'util-linux',
  swtpm: 'swtpm',
  tar: 'tar',
  tc: 'iproute2',
  umount: 'mount',
  unshare: 'util-linux',
  unsquashfs: 'squashfs-tools',
  virtiofsd: 'qemu-system-common',
  xfs_growfs: 'xfsprogs',
  xz: 'xz-utils',
  zfs: 'zfsutils-linux',
  zpool: 'zfsutils-linux',
  zstd: 'zstd',
};

/** Debian keeps QEMU's helpers out of the way. */
const folders = [...safePath.split(':'), '/usr/lib/qemu', '/usr/libexec'];

/** Where a program lies; undefined when it is not installed. Only a fixed list of directories is searched, never the environment's PATH. */
export function findProgram(name: string): string | undefined {
  if (name.includes('/')) return isExecutable(name) ? name : undefined;
  for (const folder of folders) {
    const path = `${folder}/${name}`;
    if (isExecutable(path)) return path;
  }
  return undefined;
}

/** Like findProgram. @throws Fault unsupported, naming the package to install */
export function requireProgram(name: string): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  const package_ = programPackages[name];
  throw fault.unsupported(`Program '${name}' is not installed${package_ === undefined ? '' : ` (Debian package ${package_})`}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
