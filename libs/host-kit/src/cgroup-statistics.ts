import type { Cgroup } from './cgroup.js';

/** What monitoring wants to know of a cgroup beyond its usage; empty where the kernel does not tell. */
export interface CgroupStatistics {
  /** Bytes, by one name for both versions: active_anon, inactive_file, cache, rss, shmem, mapped, dirty, writeback, unevictable … */
  memory: Readonly<Record<string, number>>;
  /** By processor; version 2 counts them together, as processor 0. */
  cpus: readonly { cpu: string; userNs: number; systemNs: number }[];
  /** By device, 'major:minor'. */
  disks: ReadonlyMap<string, DiskStatistics>;
}

export interface DiskStatistics {
  readBytes: number;
  writtenBytes: number;
  reads: number;
  writes: number;
}

export function cgroupStatistics(cgroup: Cgroup): CgroupStatistics {
  const all = cgroup.read('cpuacct', 'cpuacct.usage_all');
  const io = cgroup.read('io', 'io.stat');
  return {
    memory: memoryStatistics(cgroup.read('memory', 'memory.stat') ?? ''),
    cpus: all === undefined ? cpuStatistics2(cgroup.read('cpu', 'cpu.stat') ?? '') : cpuStatistics1(all),
    disks:
      io === undefined
        ? diskStatistics1(
            cgroup.read('blkio', 'blkio.throttle.io_service_bytes_recursive') ?? '',
            cgroup.read('blkio', 'blkio.throttle.io_serviced_recursive') ?? '',
          )
        : diskStatistics2(io),
  };
}

/** What the two versions call differently; what is not here has one name. */
const memoryNames: Readonly<Record<string, string>> = {
  anon: 'rss',
  file: 'cache',
  file_mapped: 'mapped',
  file_dirty: 'dirty',
  file_writeback: 'writeback',
  mapped_file: 'mapped',
};

/** Version 1 has each figure twice: its own, and with `total_` that of the cgroups below, too, which counts. */
export function memoryStatistics(text: string): Record<string, number> {
  const own: Record<string, number> = {};
  const total: Record<string, number> = {};
  for (const line of text.split('\n')) {
    const [key = '', value] = line.split(' ');
    if (value === undefined) continue;
    const isTotal = key.startsWith('total_');
    const name = isTotal ? key.slice('total_'.length) : key;
    (isTotal ? total : own)[memoryNames[name] ?? name] = Number(value);
  }
  return { ...own, ...total };
}

export function cpuStatistics1(text: string): CgroupStatistics['cpus'] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([cpu]) => /^\d+$/.test(cpu ?? ''))
    .map(([cpu, user, system]) => ({ cpu: cpu!, userNs: Number(user), systemNs: Number(system) }));
}

export function cpuStatistics2(text: string): CgroupStatistics['cpus'] {
  const ns = (key: string): number | undefined => {
    const us = new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1];
    return us === undefined ? undefined : Number(us) * 1000;
  };
  const [userNs, systemNs] = [ns('user_usec'), ns('system_usec')];
  return userNs === undefined || systemNs === undefined ? [] : [{ cpu: '0', userNs, systemNs }];
}

const noDisk: DiskStatistics = { readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 };

/** Lines of both files: `8:0 Read 4096`. */
export function diskStatistics1(bytes: string, operations: string): Map<string, DiskStatistics> {
  const disks = new Map<string, DiskStatistics>();
  const add = (text: string, read: keyof DiskStatistics, write: keyof DiskStatistics): void => {
    for (const line of text.split('\n')) {
      const [device, action, value] = line.split(' ');
      if (value === undefined || (action !== 'Read' && action !== 'Write')) continue;
      disks.set(device!, { ...(disks.get(device!) ?? noDisk), [action === 'Read' ? read : write]: Number(value) });
    }
  };
  add(bytes, 'readBytes', 'writtenBytes');
  add(operations, 'reads', 'writes');
  return disks;
}

/** Lines: `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`. */
export function diskStatistics2(text: string): Map<string, DiskStatistics> {
  const disks = new Map<string, DiskStatistics>();
  for (const line of text.split('\n')) {
    const [device = '', ...pairs] = line.split(' ');
    if (!/^\d+:\d+$/.test(device)) continue;
    const values = Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string]));
    disks.set(device, {
      readBytes: Number(values.rbytes ?? 0),
      writtenBytes: Number(values.wbytes ?? 0),
      reads: Number(values.rios ?? 0),
      writes: Number(values.wios ?? 0),
    });
  }
  return disks;
}
