import type { KeyDefinition, KeyDefinitions } from '#config-keys';
import { parseSize } from '#kit';
import { checkRawLxc } from '../raw-lxc.js';
import * as check from './checks.js';
import { bool, integer, text } from './any.keys.js';

const atOnce = { whileInUse: 'at-once' } as const;
const hugepages = (size: string): KeyDefinition =>
  text(`Most huge pages of ${size}`, { since: 'limits_hugepages', check: (value) => void parseSize(value), ...atOnce });
const filtering = { since: 'container_syscall_filtering_allow_deny_syntax' } as const;
const oldFiltering = { since: 'container_syscall_filtering' } as const;
const intercept = { since: 'container_syscall_intercept' } as const;
const interceptMount = { since: 'container_syscall_intercept_mount' } as const;

/** Keys that only containers have. */
export const containerKeys: KeyDefinitions = {
  'limits.cpu.allowance': text('Share of the CPUs ("50%") or hard limit ("25ms/100ms")', { default: '100%', check: check.cpuAllowance, ...atOnce }),
  'limits.cpu.priority': integer('CPU priority among equals, 0 to 10', { default: '10', check: check.priority, ...atOnce }),
  'limits.hugepages.64KB': hugepages('64 KB'),
  'limits.hugepages.1MB': hugepages('1 MB'),
  'limits.hugepages.2MB': hugepages('2 MB'),
  'limits.hugepages.1GB': hugepages('1 GB'),
  'limits.kernel.*': text('Resource limit of init: "soft[:hard]" or "unlimited"', { since: 'kernel_limits' }),
  'limits.memory.enforce': {
    ...text('Hard limit, or soft: only under pressure', { default: 'hard', ...atOnce }),
    type: 'set',
    values: ['soft', 'hard'],
  },
  'limits.memory.swap': bool('May swap', { default: 'true', ...atOnce }),
  'limits.memory.swap.priority': integer('How long it stays out of swap, 0 to 10', { default: '10', check: check.priority, ...atOnce }),
  'limits.processes': integer('Most processes', atOnce),
  'linux.kernel_modules': text('Kernel modules to load before the start, apart by commas'),
  'linux.sysctl.*': text('Kernel setting inside', { since: 'linux_sysctl' }),
  'migration.incremental.memory': bool('Copy memory in rounds', { since: 'migration_pre_copy', ...atOnce }),
  'migration.incremental.memory.goal': integer('Percent of memory in sync before the stop', {
    since: 'migration_pre_copy',
    default: '70',
    check: check.uint32,
    ...atOnce,
  }),
  'migration.incremental.memory.iterations': integer('Most rounds', { since: 'migration_pre_copy', default: '10', check: check.uint32, ...atOnce }),
  'nvidia.runtime': bool("Bring the host's NVIDIA driver in", { since: 'nvidia_runtime' }),
  'nvidia.driver.capabilities': text('What the driver must be able to do', { since: 'nvidia_runtime_config', default: 'compute,utility' }),
  'nvidia.require.cuda': text('CUDA version required', { since: 'nvidia_runtime_config' }),
  'nvidia.require.driver': text('Driver version required', { since: 'nvidia_runtime_config' }),
  'raw.lxc': text('Lines for the LXC configuration', { check: checkRawLxc }),
  'raw.seccomp': text('Seccomp policy instead of the generated one'),
  'security.devlxd.images': bool('Let it fetch images through /dev/lxd', { since: 'devlxd_images' }),
  'security.idmap.base': integer('First host id of its range', { since: 'id_map_base', check: check.uint32 }),
  'security.idmap.isolated': bool('A range of ids that no other instance has', { since: 'id_map' }),
  'security.idmap.size': integer('Number of ids in its range', { since: 'id_map', check: check.uint32 }),
  'security.nesting': bool('May run containers inside', atOnce),
  'security.privileged': bool("Root inside is the host's root"),
  'security.protection.shift': bool('Refuse to re-own its files', { since: 'container_protection_shift', ...atOnce }),
  'security.syscalls.allow': text('System calls that are allowed; all others are not', filtering),
  'security.syscalls.deny': text('System calls that are denied', filtering),
  'security.syscalls.deny_compat': bool('Deny the system calls of other architectures', filtering),
  'security.syscalls.deny_default': bool('Deny the usual dangerous ones', { default: 'true', ...filtering }),
  'security.syscalls.whitelist': text('Old name of security.syscalls.allow', oldFiltering),
  'security.syscalls.blacklist': text('Old name of security.syscalls.deny', oldFiltering),
  'security.syscalls.blacklist_compat': bool('Old name of security.syscalls.deny_compat', oldFiltering),
  'security.syscalls.blacklist_default': bool('Old name of security.syscalls.deny_default', oldFiltering),
  'security.syscalls.intercept.bpf': bool('Handle bpf for it', intercept),
  'security.syscalls.intercept.bpf.devices': bool('Let it load device programs', { since: 'container_syscall_intercept_bpf_devices' }),
  'security.syscalls.intercept.mknod': bool('Handle mknod for it', intercept),
  'security.syscalls.intercept.mount': bool('Handle mount for it', interceptMount),
  'security.syscalls.intercept.mount.allowed': text('File systems that it may mount', { ...interceptMount, ...atOnce }),
  'security.syscalls.intercept.mount.fuse': text('FUSE program for a file system', { since: 'container_syscall_intercept_mount_fuse', ...atOnce }),
  'security.syscalls.intercept.mount.shift': bool('Shift ids of what it mounts', { ...interceptMount, ...atOnce }),
  'security.syscalls.intercept.sched_setscheduler': bool('Handle sched_setscheduler for it', {
    since: 'container_syscall_intercept_sched_setscheduler',
  }),
  'security.syscalls.intercept.setxattr': bool('Handle setxattr for it', intercept),
};

/** Keys that only virtual machines have. */
export const machineKeys: KeyDefinitions = {
  'agent.nic_config': bool('Rename and configure NICs inside', { since: 'agent_nic_config' }),
  'limits.memory.hugepages': bool('Back its memory with huge pages', { since: 'virtual-machines' }),
  'migration.stateful': bool('May stop with its state and move live', { since: 'migration_stateful' }),
  'raw.qemu': text("Added to QEMU's command line", { since: 'virtual-machines' }),
  'raw.qemu.conf': text("Changes to QEMU's configuration", { since: 'qemu_raw_conf' }),
  'security.agent.metrics': bool('Ask the agent inside for metrics', { since: 'qemu_metrics', default: 'true' }),
  'security.secureboot': bool('Boot with Secure Boot', { since: 'virtual-machines', default: 'true' }),
};
