import { existsSync, readFileSync, statSync } from 'node:fs';
import type { CgroupLayout } from '#host-kit';
import { hostMounts, type LxcHost } from '../../model/index.js';

/** What of this host goes into the configuration of its containers. */
export function lxcHost(layout: CgroupLayout): LxcHost {
  return {
    cgroupVersion: layout.kind === 'v2' ? 2 : 1,
    apparmor: appArmorEnabled(),
    mounts: hostMounts.filter((path) => existsSync(path)).map((path) => ({ path, directory: statSync(path).isDirectory() })),
  };
}

function appArmorEnabled(): boolean {
  try {
    return readFileSync('/sys/module/apparmor/parameters/enabled', 'latin1').startsWith('Y');
  } catch {
    return false;
  }
}
