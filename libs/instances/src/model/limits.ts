import { isTrue } from '#config-keys';
import { parseSize } from '#kit';

/** Which cgroup files the host has: v1 (also hybrid) or v2. */
export type CgroupLayout = 'v1' | 'v2';

/** One value for one cgroup file, by controller (v1 has a tree for each). */
export interface CgroupSetting {
  controller: 'memory' | 'cpu' | 'blkio' | 'io' | 'pids' | 'hugetlb';
  file: string;
  value: string;
}

export interface HostMemory {
  totalBytes: number;
  /** memory.memsw.* or memory.swap.* exist. */
  swapAccounting: boolean;
  hugetlb: boolean;
  /** blkio.weight or io.weight exists. */
  ioWeight: boolean;
}

const unlimited = (layout: CgroupLayout): string => (layout === 'v1' ? '-1' : 'max');

/** '25%' of the host, or a size, in bytes; undefined for ''. */
export function memoryLimitBytes(value: string | undefined, totalBytes: number): number | undefined {
  if (!value) return undefined;
  return value.endsWith('%') ? Math.floor(totalBytes / 100) * Number(value.slice(0, -1)) : parseSize(value);
}

/**
 * Settings for the limits.* of a container, in an order in which they can be made. With `live` also what lifts a limit that is no longer there;
 * otherwise only what is set.
 */
export function cgroupSettings(config: Record<string, string>, layout: CgroupLayout, host: HostMemory, live = false): CgroupSetting[] {
  return [
    ...memorySettings(config, layout, host, live),
    ...cpuSettings(config, layout, live),
    ...diskSettings(config, layout, host, live),
    ...processSettings(config, live),
    ...hugepageSettings(config, layout, host, live),
  ];
}

function memorySettings(config: Record<string, string>, layout: CgroupLayout, host: HostMemory, live: boolean): CgroupSetting[] {
  const set = (file: string, value: string | number): CgroupSetting => ({ controller: 'memory', file, value: String(value) });
  const limit = memoryLimitBytes(config['limits.memory'], host.totalBytes);
  const soft = config['limits.memory.enforce'] === 'soft';
  const swap = config['limits.memory.swap'];
  const maySwap = isTrue(swap, true);
  const v1 = layout === 'v1';
  const [hardFile, softFile] = v1 ? ['memory.limit_in_bytes', 'memory.soft_limit_in_bytes'] : ['memory.max', 'memory.low'];
  const settings: CgroupSetting[] = [];
  if (live) {
    // Lifted first, outermost first: memsw may never be below the memory limit.
    if (host.swapAccounting) settings.push(set(v1 ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max', unlimited(layout)));
    settings.push(set(hardFile, unlimited(layout)), set(softFile, v1 ? '-1' : '0'));
  }
  if (limit !== undefined) {
    if (soft) settings.push(set(softFile, limit));
    else {
      settings.push(set(hardFile, limit));
      // No swap beyond the limit: memory and swap together are what limits.memory says.
      if (host.swapAccounting && maySwap) settings.push(set(v1 ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max', v1 ? limit : 0));
      settings.push(set(softFile, Math.floor(limit * 0.9)));
    }
  }
  if (v1) {
    const priority = config['limits.memory.swap.priority'];
    if (!maySwap) settings.push(set('memory.swappiness', 0));
    else if (priority) settings.push(set('memory.swappiness', 70 - Number(priority)));
    else if (live) settings.push(set('memory.swappiness', 60));
  }
  return settings;
}

function cpuSettings(config: Record<string, string>, layout: CgroupLayout, live: boolean): CgroupSetting[] {
  const allowance = config['limits.cpu.allowance'];
  const priority = config['limits.cpu.priority'];
  if (!allowance && !priority && !live) return [];
  const set = (file: string, value: string | number): CgroupSetting => ({ controller: 'cpu', file, value: String(value) });
  const most = layout === 'v1' ? 1024 : 100;
  let shares = most - (10 - Number(priority || 10));
  let quotaUs = -1;
  let periodUs = 100_000;
  if (allowance?.endsWith('%')) shares += Math.floor((most / 100) * Number(allowance.slice(0, -1))) - most;
  else if (allowance) [quotaUs, periodUs] = allowance.split('/').map((field) => Number(field.replace(/ms$/, '')) * 1000) as [number, number];
  shares = Math.max(shares, layout === 'v1' ? 2 : 1);
  const settings: CgroupSetting[] = [];
  if (shares !== most || live) settings.push(set(layout === 'v1' ? 'cpu.shares' : 'cpu.weight', shares));
  if (quotaUs !== -1 || live) {
    if (layout === 'v1') settings.push(set('cpu.cfs_period_us', periodUs), set('cpu.cfs_quota_us', quotaUs));
    else settings.push(set('cpu.max', quotaUs === -1 ? 'max' : `${quotaUs} ${periodUs}`));
  }
  return settings;
}

function diskSettings(config: Record<string, string>, layout: CgroupLayout, host: HostMemory, live: boolean): CgroupSetting[] {
  const priority = config['limits.disk.priority'];
  if (!host.ioWeight || (!priority && !live)) return [];
  const weight = priority ? Math.max(Number(priority) * 100, 10) : 500;
  return [
    layout === 'v1'
      ? { controller: 'blkio', file: 'blkio.weight', value: String(weight) }
      : { controller: 'io', file: 'io.weight', value: String(weight) },
  ];
}

function processSettings(config: Record<string, string>, live: boolean): CgroupSetting[] {
  const most = config['limits.processes'];
  return most || live ? [{ controller: 'pids', file: 'pids.max', value: most || 'max' }] : [];
}

function hugepageSettings(config: Record<string, string>, layout: CgroupLayout, host: HostMemory, live: boolean): CgroupSetting[] {
  if (!host.hugetlb) return [];
  const settings: CgroupSetting[] = [];
  for (const size of ['64KB', '1MB', '2MB', '1GB']) {
    const most = config[`limits.hugepages.${size}`];
    const file = `hugetlb.${size}.${layout === 'v1' ? 'limit_in_bytes' : 'max'}`;
    if (most) settings.push({ controller: 'hugetlb', file, value: String(parseSize(most)) });
    else if (live) settings.push({ controller: 'hugetlb', file, value: unlimited(layout) });
  }
  return settings;
}
