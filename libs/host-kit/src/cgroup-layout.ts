import { readFileSync } from 'node:fs';
import { listMounts, type MountEntry } from './mountinfo.js';

export type CgroupController = 'memory' | 'cpu' | 'cpuacct' | 'cpuset' | 'pids' | 'blkio' | 'io' | 'devices' | 'freezer' | 'hugetlb';

/** Where this machine's cgroups are. A controller is on version 1 or on version 2, never on both; 'hybrid' means that both hierarchies are mounted. */
export interface CgroupLayout {
  kind: 'v1' | 'hybrid' | 'v2' | 'none';
  /** Mount point of every controller, and the version of its keys. */
  controllers: ReadonlyMap<string, { version: 1 | 2; root: string }>;
  /** All mounted hierarchies, named ones too: a cgroup may have a folder in each. */
  hierarchies: readonly string[];
}

/** Looks at this machine's mounts. */
export function detectCgroups(): CgroupLayout {
  return layoutOf(listMounts(), (root) => {
    try {
      return readFileSync(`${root}/cgroup.controllers`, 'latin1').split(/\s+/).filter(Boolean);
    } catch {
      return [];
    }
  });
}

/** The pure part of detectCgroups. @param unifiedControllers what a version 2 hierarchy offers */
export function layoutOf(mounts: MountEntry[], unifiedControllers: (root: string) => string[]): CgroupLayout {
  const controllers = new Map<string, { version: 1 | 2; root: string }>();
  const hierarchies: string[] = [];
  let versions = 0;
  for (const mount of mounts) {
    if (mount.type === 'cgroup') {
      versions |= 1;
      for (const name of mount.superOptions) if (v1Controllers.has(name)) controllers.set(name, { version: 1, root: mount.target });
    } else if (mount.type === 'cgroup2') {
      versions |= 2;
      for (const name of unifiedControllers(mount.target)) controllers.set(name, { version: 2, root: mount.target });
    } else continue;
    if (!hierarchies.includes(mount.target)) hierarchies.push(mount.target);
  }
  return { kind: (['none', 'v1', 'v2', 'hybrid'] as const)[versions]!, controllers, hierarchies };
}

const v1Controllers = new Set([
  'memory',
  'cpu',
  'cpuacct',
  'cpuset',
  'pids',
  'blkio',
  'devices',
  'freezer',
  'hugetlb',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'misc',
]);
