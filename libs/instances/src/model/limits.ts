import { isTrue } from '#config-keys';
import { parseSize } from '#kit';

/** What the limits.* of a container mean for its control group. Undefined: leave it; null: no limit. */
export interface ContainerLimits {
  memoryBytes?: number | null;
  memorySoftBytes?: number | null;
  /** On top of memoryBytes. */
  swapBytes?: number | null;
  swappiness?: number;
  /** 1024 is everybody's. */
  cpuShares?: number;
  cpuQuota?: { quotaUs: number; periodUs: number } | null;
  processes?: number | null;
  ioWeight?: number;
  hugepages: { size: string; bytes: number | null }[];
}

const sharesDefault = 1024;
const swappinessDefault = 60;
const ioWeightDefault = 500;

/** '25%' of the host, or a size, in bytes; undefined for ''. */
export function memoryLimitBytes(value: string | undefined, totalBytes: number): number | undefined {
  if (!value) return undefined;
  return value.endsWith('%') ? Math.floor(totalBytes / 100) * Number(value.slice(0, -1)) : parseSize(value);
}

/**
 * Limits of a container from its expanded config. With `live` also what takes away a limit that is no longer set; without it, for a new control group,
 * only what is set.
 */
export function containerLimits(config: Readonly<Record<string, string>>, totalBytes: number, live = false): ContainerLimits {
  return { ...memoryLimits(config, totalBytes, live), ...cpuLimits(config, live), ...otherLimits(config, live) };
}

function memoryLimits(config: Readonly<Record<string, string>>, totalBytes: number, live: boolean): Partial<ContainerLimits> {
  const limits: Partial<ContainerLimits> = live ? { memoryBytes: null, memorySoftBytes: null, swapBytes: null } : {};
  const bytes = memoryLimitBytes(config['limits.memory'], totalBytes);
  const maySwap = isTrue(config['limits.memory.swap'], true);
  if (bytes !== undefined && config['limits.memory.enforce'] === 'soft') limits.memorySoftBytes = bytes;
  else if (bytes !== undefined) {
    limits.memoryBytes = bytes;
    limits.memorySoftBytes = Math.floor(bytes * 0.9);
    // Memory and swap together are what limits.memory says.
    if (maySwap) limits.swapBytes = 0;
  }
  const priority = config['limits.memory.swap.priority'];
  if (!maySwap) limits.swappiness = 0;
  else if (priority) limits.swappiness = swappinessDefault + 10 - Number(priority);
  else if (live) limits.swappiness = swappinessDefault;
  return limits;
}

function cpuLimits(config: Readonly<Record<string, string>>, live: boolean): Partial<ContainerLimits> {
  const allowance = config['limits.cpu.allowance'];
  const priority = config['limits.cpu.priority'];
  const limits: Partial<ContainerLimits> = live ? { cpuShares: sharesDefault, cpuQuota: null } : {};
  if (!allowance && !priority) return limits;
  let shares = sharesDefault;
  if (allowance?.endsWith('%')) shares = Math.floor((sharesDefault / 100) * Number(allowance.slice(0, -1)));
  else if (allowance) {
    const [quotaMs, periodMs] = allowance.split('/').map((field) => Number(field.replace(/ms$/, '')));
    limits.cpuQuota = { quotaUs: quotaMs! * 1000, periodUs: periodMs! * 1000 };
  }
  limits.cpuShares = Math.max(2, shares - (10 - Number(priority || 10)));
  return limits;
}

function otherLimits(config: Readonly<Record<string, string>>, live: boolean): Pick<ContainerLimits, 'processes' | 'ioWeight' | 'hugepages'> {
  const processes = config['limits.processes'];
  const priority = config['limits.disk.priority'];
  const hugepages: ContainerLimits['hugepages'] = [];
  for (const size of ['64KB', '1MB', '2MB', '1GB']) {
    const most = config[`limits.hugepages.${size}`];
    if (most || live) hugepages.push({ size, bytes: most ? parseSize(most) : null });
  }
  return {
    hugepages,
    processes: processes ? Number(processes) : live ? null : undefined,
    // 10 is the least that the kernel takes.
    ioWeight: priority ? Math.max(10, Number(priority) * 100) : live ? ioWeightDefault : undefined,
  };
}
