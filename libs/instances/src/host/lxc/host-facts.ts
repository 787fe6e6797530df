import { existsSync, readFileSync, statSync } from 'node:fs';
import { totalmem } from 'node:os';
import { hostMounts, type LxcHost } from '../../model/index.js';
import type { Cgroups } from './cgroups.js';

/** What of this host goes into the configuration of its containers. */
export function lxcHost(cgroups: Cgroups): LxcHost {
  const v1 = cgroups.layout === 'v1';
  return {
    cgroup: cgroups.layout,
    memory: {
      totalBytes: totalmem(),
      // The root group of v2 has no files of its own limits; every kernel with v2 that Debian ships accounts swap.
      swapAccounting: v1 ? cgroups.has('memory', 'memory.memsw.limit_in_bytes') : true,
      hugetlb: v1
        ? cgroups.has('hugetlb', 'hugetlb.2MB.limit_in_bytes') || cgroups.has('hugetlb', 'tasks')
        : cgroups.has('', 'cgroup.controllers') && /\bhugetlb\b/.test(readFileSync('/sys/fs/cgroup/cgroup.controllers', 'latin1')),
      ioWeight: v1 ? cgroups.has('blkio', 'blkio.weight') : cgroups.has('', 'io.cost.qos'),
    },
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

/** Id maps of mounts (Linux 5.12); which file systems have them is found out at the mount. */
export const mapsIdsOfMounts = (): boolean => existsSync('/proc/self/ns/user');
