import { isTrue } from '#config-keys';
import { fault } from '#kit';
import { parseRawLxc } from './raw-lxc.js';

const why = 'as LXD was configured to only allow unprivileged containers';

/**
 * What a server that runs unprivileged containers only (LXD_UNPRIVILEGED_ONLY) refuses in the config of an instance or a profile: to be privileged, and
 * whatever could make it so by another way.
 * @throws Fault invalid
 */
export function checkUnprivileged(config: Readonly<Record<string, string>>): void {
  if (isTrue(config['security.privileged'])) throw fault.invalid('LXD was configured to only allow unprivileged containers');
  if (config['raw.idmap']) throw fault.invalid(`raw.idmap can't be set ${why}`);
  for (const [key] of parseRawLxc(config['raw.lxc'] ?? '')) {
    if (['lxc.idmap', 'lxc.id_map', 'lxc.include'].includes(key)) throw fault.invalid(`${key} can't be set in raw.lxc ${why}`);
  }
}
