import { isTrue } from '#config-keys';

const dangerous = `reject_force_umount
[all]
kexec_load errno 38
open_by_handle_at errno 38
init_module errno 38
finit_module errno 38
delete_module errno 38
`;

const compatArchitecture: Record<string, string> = { x86_64: 'x86', aarch64: 'arm', ppc64: 'ppc' };

/** Without these no program of that architecture gets beyond its first steps. */
const compatCalls = [
  'brk',
  'mmap2',
  'openat',
  'fstat64',
  'ioctl',
  'readv',
  'writev',
  'rt_sigaction',
  'execve',
  'ptrace',
  'sendmsg',
  'recvmsg',
  'recvfrom',
];

/** The seccomp policy of a container in LXC's format; undefined when it needs none. */
export function seccompPolicy(config: Record<string, string>, architecture: string): string | undefined {
  if (config['raw.seccomp']) return config['raw.seccomp'];
  const either = (name: string, old: string): string | undefined => config[`security.syscalls.${name}`] ?? config[`security.syscalls.${old}`];
  const allow = either('allow', 'whitelist');
  if (allow) return `2\nallowlist\n[all]\n${allow}\n`;
  const deny = either('deny', 'blacklist');
  const denyDefault = isTrue(either('deny_default', 'blacklist_default'), true);
  const denyCompat = isTrue(either('deny_compat', 'blacklist_compat'));
  if (!deny && !denyDefault && !denyCompat) return undefined;
  let policy = '2\ndenylist\n';
  if (denyDefault) policy += dangerous;
  const compat = compatArchitecture[architecture];
  if (denyCompat && compat) policy += `[${compat}]\n${compatCalls.map((call) => `${call} errno 38\n`).join('')}`;
  if (deny) policy += `[all]\n${deny}\n`;
  return policy;
}
