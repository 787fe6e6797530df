import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Subcommand } from '../main.js';

const directories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Program, the Debian package that has it, what it is for. */
const programs = [
  ['lxc-start', 'lxc', 'containers'],
  ['lxc-attach', 'lxc', 'exec'],
  ['newuidmap', 'uidmap', 'unprivileged containers'],
  ['dnsmasq', 'dnsmasq-base', 'DHCP and DNS of bridges'],
  ['nft', 'nftables', 'NAT and filtering'],
  ['ip', 'iproute2', 'networks'],
  ['btrfs', 'btrfs-progs', 'btrfs pools'],
  ['unsquashfs', 'squashfs-tools', 'squashfs images'],
  ['xz', 'xz-utils', 'xz images'],
  ['zstd', 'zstd', 'zstd images'],
  ['lz4', 'lz4', 'lz4 images'],
  ['bzip2', 'bzip2', 'bzip2 images'],
  ['rsync', 'rsync', 'copies between pools and servers'],
  ['lxc', 'lxd-client', 'the client'],
] as const;

interface Finding {
  ok: boolean;
  what: string;
  mend?: string;
}

export const doctor: Subcommand = {
  summary: 'Say what this host has and lacks, and what would mend it',
  async run() {
    const findings = [
      ...system(),
      ...programs.map(([program, debian, use]) => ({ ok: has(program), what: `${program} (${use})`, mend: `apt-get install ${debian}` })),
    ];
    for (const { ok, what, mend } of findings) console.log(`${ok ? 'ok     ' : 'MISSING'} ${what}${ok || !mend ? '' : `: ${mend}`}`);
    return findings.every(({ ok }) => ok) ? 0 : 1;
  },
};

function system(): Finding[] {
  return [
    { ok: process.getuid?.() === 0, what: 'root', mend: 'run it as root' },
    { ok: existsSync('/proc/self/ns/user'), what: 'user namespaces', mend: 'a kernel with CONFIG_USER_NS' },
    { ok: existsSync('/sys/fs/cgroup'), what: 'cgroups', mend: 'mount cgroup2 at /sys/fs/cgroup' },
    {
      ok: rootRange('/etc/subuid') && rootRange('/etc/subgid'),
      what: 'ids for unprivileged containers in /etc/subuid and /etc/subgid',
      mend: "add 'root:1000000:1000000000' to both",
    },
    {
      ok: readable('/proc/filesystems') && readFileSync('/proc/filesystems', 'utf8').includes('btrfs'),
      what: 'btrfs in the kernel',
      mend: 'modprobe btrfs (only for btrfs pools)',
    },
  ];
}

const has = (program: string): boolean => directories.some((directory) => existsSync(join(directory, program)));

/** Without the file, LXD's default range is taken; with it, root needs 65,536 ids. */
function rootRange(file: string): boolean {
  if (!existsSync(file)) return true;
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .some(([name, , count]) => (name === 'root' || name === '0') && Number(count) >= 65_536);
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
