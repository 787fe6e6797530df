import { isTrue } from '#config-keys';
import { fault } from '#kit';
import { parseRawLxc } from './raw-lxc.js';

/** One line of an LXC configuration. Lines of one key add up, in order. */
export type LxcLine = readonly [key: string, value: string];

/** What of the host goes into a container's configuration. */
export interface LxcHost {
  /** 1 also for hosts with both: the controllers are there. */
  cgroupVersion: 1 | 2;
  /** AppArmor is enabled in the kernel. */
  apparmor: boolean;
  /** Those of `hostMounts` that the host has. */
  mounts: readonly { path: string; directory: boolean }[];
}

/** A container that is about to start. */
export interface LxcOwner {
  name: string;
  architecture: string;
  /** Expanded. */
  config: Readonly<Record<string, string>>;
  /** 'u 0 1000000 65536' …; empty when privileged. */
  idmapLines: readonly string[];
  /** Lines of lxc.cgroup.* for its limits. */
  limits: readonly LxcLine[];
  rootfs: string;
  /** The kernel maps ids at the mount; otherwise the files are shifted on disk. */
  rootfsIdmapped: boolean;
  log: string;
  consoleLog: string;
  /** Path of the script that tells of its end. */
  hook: string;
  seccompProfile?: string;
  /** Directory to be seen as /dev/lxd. */
  guestDirectory?: string;
  /** Directory to be seen as /dev/.lxd-mounts. */
  injectDirectory?: string;
  /** Lines of its devices, in order. */
  devices: readonly LxcLine[];
}

/** Files of the host that a container sees, where the host has them. */
export const hostMounts = [
  '/dev/fuse',
  '/dev/net/tun',
  '/proc/sys/fs/binfmt_misc',
  '/sys/firmware/efi/efivars',
  '/sys/fs/fuse/connections',
  '/sys/fs/pstore',
  '/sys/kernel/config',
  '/sys/kernel/debug',
  '/sys/kernel/security',
  '/sys/kernel/tracing',
  '/dev/mqueue',
] as const;

const personalities: Record<string, string> = { x86_64: 'linux64', i686: 'linux32', aarch64: 'linux64', armv7l: 'linux32' };

const privilegedDevices = [
  'b *:* m',
  'c *:* m',
  'c 136:* rwm', // /dev/pts
  'c 1:3 rwm', // /dev/null
  'c 1:5 rwm', // /dev/zero
  'c 1:7 rwm', // /dev/full
  'c 1:8 rwm', // /dev/random
  'c 1:9 rwm', // /dev/urandom
  'c 5:0 rwm', // /dev/tty
  'c 5:1 rwm', // /dev/console
  'c 5:2 rwm', // /dev/ptmx
  'c 10:229 rwm', // /dev/fuse
  'c 10:200 rwm', // /dev/net/tun
];

/** The whole LXC configuration of a container. Pure: same owner, same lines. @throws Fault invalid for values that no line can hold */
export function lxcConfig(owner: LxcOwner, host: LxcHost): LxcLine[] {
  const { config } = owner;
  const privileged = owner.idmapLines.length === 0;
  const lines: LxcLine[] = [];
  const add = (key: string, value: string): void => void lines.push([key, value]);

  add('lxc.log.file', owner.log);
  add('lxc.log.level', 'warn');
  add('lxc.console.buffer.size', 'auto');
  add('lxc.console.size', 'auto');
  add('lxc.console.logfile', owner.consoleLog);

  if (privileged) add('lxc.cap.drop', `sys_time sys_module sys_rawio${host.apparmor ? '' : ' mac_admin mac_override'}`);
  add(
    'lxc.mount.auto',
    `proc:${privileged ? 'mixed' : 'rw'} sys:${privileged ? 'mixed' : 'rw'} cgroup:${host.cgroupVersion === 2 ? 'rw:force' : 'mixed'}`,
  );
  add('lxc.autodev', '1');
  add('lxc.pty.max', '1024');
  add('lxc.tty.max', '0');
  if (privileged) add('lxc.mount.entry', 'mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0');
  for (const { path, directory } of host.mounts) {
    if (privileged && path === '/dev/mqueue') continue;
    add('lxc.mount.entry', `${path} ${path.slice(1)} none ${directory ? 'rbind,create=dir' : 'bind,create=file'},optional 0 0`);
  }
  if (privileged) {
    const prefix = host.cgroupVersion === 2 ? 'lxc.cgroup2' : 'lxc.cgroup';
    add(`${prefix}.devices.deny`, 'a');
    for (const rule of privilegedDevices) add(`${prefix}.devices.allow`, rule);
  }
  if (isTrue(config['security.nesting'])) {
    // The kernel refuses new proc and sysfs mounts inside unless a whole one is to be seen somewhere.
    add('lxc.mount.entry', 'proc dev/.lxc/proc proc create=dir,optional 0 0');
    add('lxc.mount.entry', 'sys dev/.lxc/sys sysfs create=dir,optional 0 0');
  }
  const personality = personalities[owner.architecture];
  if (personality) add('lxc.arch', personality);

  add('lxc.hook.version', '1');
  add('lxc.hook.post-stop', shellWord(owner.hook));
  add('lxc.uts.name', owner.name);
  if (owner.guestDirectory && isTrue(config['security.devlxd'], true)) {
    add('lxc.mount.entry', `${fstabWord(owner.guestDirectory)} dev/lxd none bind,create=dir 0 0`);
  }
  if (owner.injectDirectory) add('lxc.mount.auto', `shmounts:${owner.injectDirectory}:/dev/.lxd-mounts`);

  add('lxc.apparmor.profile', host.apparmor ? 'generated' : 'unconfined');
  if (host.apparmor && isTrue(config['security.nesting'])) add('lxc.apparmor.allow_nesting', '1');
  if (host.apparmor) for (const rule of (config['raw.apparmor'] ?? '').split('\n')) if (rule.trim()) add('lxc.apparmor.raw', rule.trim());
  if (owner.seccompProfile) add('lxc.seccomp.profile', owner.seccompProfile);
  for (const range of owner.idmapLines) add('lxc.idmap', range);

  for (const [key, value] of Object.entries(config)) {
    if (key.startsWith('environment.')) add('lxc.environment', `${key.slice('environment.'.length)}=${value}`);
  }
  if (isTrue(config['nvidia.runtime'])) addNvidia(config, add);
  lines.push(...owner.limits);
  for (const [key, value] of Object.entries(config)) {
    if (key.startsWith('limits.kernel.')) add(`lxc.prlimit.${key.slice('limits.kernel.'.length)}`, value);
    if (key.startsWith('linux.sysctl.')) add(`lxc.sysctl.${key.slice('linux.sysctl.'.length)}`, value);
  }

  add('lxc.rootfs.path', `dir:${owner.rootfs}`);
  if (owner.rootfsIdmapped && !privileged) add('lxc.rootfs.options', 'idmap=container');
  lines.push(...owner.devices);
  lines.push(...parseRawLxc(config['raw.lxc'] ?? ''));
  for (const [key, value] of lines) refuseBreaks(key, value);
  return lines;
}

function addNvidia(config: Readonly<Record<string, string>>, add: (key: string, value: string) => void): void {
  add('lxc.environment', 'NVIDIA_VISIBLE_DEVICES=none');
  add('lxc.environment', `NVIDIA_DRIVER_CAPABILITIES=${config['nvidia.driver.capabilities'] || 'compute,utility'}`);
  if (config['nvidia.require.cuda']) add('lxc.environment', `NVIDIA_REQUIRE_CUDA=${config['nvidia.require.cuda']}`);
  if (config['nvidia.require.driver']) add('lxc.environment', `NVIDIA_REQUIRE_DRIVER=${config['nvidia.require.driver']}`);
  add('lxc.hook.mount', '/usr/share/lxc/hooks/nvidia');
}

/** A value with a line break would become a line of its own: another key, past every check. */
function refuseBreaks(key: string, value: string): void {
  if (/[\0\r\n]/.test(key + value)) throw fault.invalid(`Failed to set LXC config: ${key}: the value may not hold a line break`);
}

/** The text of a configuration file. */
export function lxcConfigText(lines: readonly LxcLine[]): string {
  return lines.map(([key, value]) => `${key} = ${value}\n`).join('');
}

/** LXC runs hooks through a shell. */
const shellWord = (text: string): string => text.replace(/[^\w./-]/g, '\\$&');
export const fstabWord = (text: string): string =>
  text.replace(/[ \t\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
