import { defineKeys, isTrue } from '#config-keys';
import type { InstanceType } from '#api-contract';
import { fault } from '#kit';
import { anyKeys, volatileKeys } from './any.keys.js';
import { containerKeys, machineKeys } from './container.keys.js';

/** Keys of a container, of a virtual machine, and of what may hold both (profiles, expanded config). */
export const instanceKeys = {
  container: defineKeys('instance', anyKeys, containerKeys, volatileKeys),
  'virtual-machine': defineKeys('instance', anyKeys, machineKeys, volatileKeys),
  any: defineKeys('instance', anyKeys, containerKeys, machineKeys, volatileKeys),
};

export { addExpiry } from './checks.js';

const exclusive = [
  ['security.syscalls.allow', 'security.syscalls.whitelist'],
  ['security.syscalls.deny', 'security.syscalls.blacklist'],
  ['security.syscalls.deny_default', 'security.syscalls.blacklist_default'],
  ['security.syscalls.deny_compat', 'security.syscalls.blacklist_compat'],
] as const;

/**
 * Config as an instance may have it; with 'any' also that of mixed profiles, expanded.
 * @throws Fault invalid, its sentence without a prefix
 */
export function checkConfig(config: Record<string, string>, type: InstanceType | 'any'): void {
  instanceKeys[type].validate(config);
  const has = (key: string): boolean => config[key] !== undefined && config[key] !== '';
  for (const [key, old] of exclusive) {
    if (key in config && old in config) throw fault.invalid(`${key} and ${old} are mutually exclusive`);
  }
  const allow = has('security.syscalls.allow') || has('security.syscalls.whitelist');
  const deny =
    has('security.syscalls.deny') ||
    has('security.syscalls.blacklist') ||
    ['deny_default', 'blacklist_default', 'deny_compat', 'blacklist_compat'].some((word) => isTrue(config[`security.syscalls.${word}`]));
  if ('raw.seccomp' in config && (allow || deny)) throw fault.invalid('raw.seccomp is mutually exclusive with security.syscalls*');
  if (allow && deny) throw fault.invalid('security.syscalls.allow is mutually exclusive with security.syscalls.deny*');
  if (isTrue(config['security.privileged']) && isTrue(config['nvidia.runtime'])) {
    throw fault.invalid('nvidia.runtime is incompatible with privileged containers');
  }
}

/** Config of a profile: no keys that only instances have. @throws Fault invalid */
export function checkProfileConfig(config: Record<string, string>): void {
  for (const key of Object.keys(config)) {
    if (key.startsWith('volatile.')) throw fault.invalid('Volatile keys can only be set on instances');
    if (key.startsWith('image.')) throw fault.invalid('Image keys can only be set on instances');
  }
  checkConfig(config, 'any');
}

/** Keys that a copy takes along. */
export function copiesKey(key: string, remote: boolean): boolean {
  if (key === 'volatile.base_image') return true;
  if (key === 'volatile.last_state.idmap') return !remote;
  return !key.startsWith('volatile.');
}
