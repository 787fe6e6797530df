import type { CgroupController, CgroupLayout } from './cgroup-layout.js';

/** What a cgroup may use. What is undefined is left as it is; null takes a limit away. */
export interface CgroupLimits {
  /** More than this is never given: processes are killed. */
  memoryBytes?: number | null;
  /** Under pressure, memory beyond this is taken back first. */
  memorySoftBytes?: number | null;
  /** Swap on top of memoryBytes, which must then be given too (version 1 limits the sum). */
  swapBytes?: number | null;
  /** 0 (never swaps) to 100; version 1 only. */
  swappiness?: number;
  /** Relative weight on the scale of version 1: 1024 is everybody's, 2 to 262,144. */
  cpuShares?: number;
  /** Processor time in each period (microseconds). */
  cpuQuota?: { quotaUs: number; periodUs: number } | null;
  /** '0-3,7'. */
  cpus?: string;
  processes?: number | null;
  /** Relative weight of block I/O, 10 to 1000. */
  ioWeight?: number;
}

/** One key of a cgroup: written as it is, and also a line of LXC's configuration (lxc.cgroup.KEY or, version 2, lxc.cgroup2.KEY). */
export interface CgroupSetting {
  version: 1 | 2;
  controller: CgroupController;
  key: string;
  value: string;
}

/**
 * The keys that say these limits on this machine, in an order that works on a new cgroup. What its controllers cannot say is left out: `missing` gives
 * the names of the limits for a warning.
 */
export function cgroupSettings(layout: CgroupLayout, limits: CgroupLimits): { settings: CgroupSetting[]; missing: (keyof CgroupLimits)[] } {
  const settings: CgroupSetting[] = [];
  const missing: (keyof CgroupLimits)[] = [];
  const say = (
    limit: keyof CgroupLimits,
    controller: CgroupController,
    keys: Partial<Record<1 | 2, [key: string, value: string | number]>>,
  ): void => {
    const version = layout.controllers.get(controller)?.version;
    const pair = version === undefined ? undefined : keys[version];
    if (version !== undefined && pair) settings.push({ version, controller, key: pair[0], value: String(pair[1]) });
    else missing.push(limit);
  };
  const { memoryBytes, memorySoftBytes, swapBytes, swappiness, cpuShares, cpuQuota, cpus, processes, ioWeight } = limits;
  if (memoryBytes !== undefined)
    say('memoryBytes', 'memory', { 1: ['memory.limit_in_bytes', memoryBytes ?? -1], 2: ['memory.max', memoryBytes ?? 'max'] });
  if (swapBytes !== undefined) {
    const sum = swapBytes === null || memoryBytes === null || memoryBytes === undefined ? -1 : memoryBytes + swapBytes;
    say('swapBytes', 'memory', { 1: ['memory.memsw.limit_in_bytes', sum], 2: ['memory.swap.max', swapBytes ?? 'max'] });
  }
  if (memorySoftBytes !== undefined) {
    say('memorySoftBytes', 'memory', { 1: ['memory.soft_limit_in_bytes', memorySoftBytes ?? -1], 2: ['memory.high', memorySoftBytes ?? 'max'] });
  }
  if (swappiness !== undefined) say('swappiness', 'memory', { 1: ['memory.swappiness', swappiness] });
  if (cpuShares !== undefined)
    say('cpuShares', 'cpu', { 1: ['cpu.shares', cpuShares], 2: ['cpu.weight', clamp((cpuShares * 100) / 1024, 1, 10_000)] });
  if (cpuQuota !== undefined) {
    if (layout.controllers.get('cpu')?.version === 1) {
      if (cpuQuota) say('cpuQuota', 'cpu', { 1: ['cpu.cfs_period_us', cpuQuota.periodUs] });
      say('cpuQuota', 'cpu', { 1: ['cpu.cfs_quota_us', cpuQuota ? cpuQuota.quotaUs : -1] });
    } else say('cpuQuota', 'cpu', { 2: ['cpu.max', cpuQuota ? `${cpuQuota.quotaUs} ${cpuQuota.periodUs}` : 'max'] });
  }
  if (cpus !== undefined) say('cpus', 'cpuset', { 1: ['cpuset.cpus', cpus], 2: ['cpuset.cpus', cpus] });
  if (processes !== undefined) say('processes', 'pids', { 1: ['pids.max', processes ?? 'max'], 2: ['pids.max', processes ?? 'max'] });
  if (ioWeight !== undefined) {
    if (layout.controllers.get('blkio')?.version === 1) say('ioWeight', 'blkio', { 1: ['blkio.bfq.weight', ioWeight] });
    else say('ioWeight', 'io', { 2: ['io.weight', clamp(ioWeight, 1, 10_000)] });
  }
  return { settings, missing };
}

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, Math.round(value)));
