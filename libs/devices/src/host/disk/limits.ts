import { stat } from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { Cgroup, detectCgroups, listMounts, mountOf, type CgroupLayout } from '#host-kit';
import { parseSize, type Logger } from '#kit';
import type { Device } from '../device-driver.js';

interface Throttle {
  readBytes: number;
  writeBytes: number;
  readOps: number;
  writeOps: number;
}

/** What a disk's keys limit; 0: nothing. */
export function throttleOf(device: Device): Throttle {
  const one = (text: string): { bytes: number; ops: number } => {
    const ops = /^(\d+) ?iops$/.exec(text);
    return ops ? { bytes: 0, ops: Number(ops[1]) } : { bytes: parseSize(text), ops: 0 };
  };
  const read = one(device['limits.max'] || device['limits.read'] || '');
  const write = one(device['limits.max'] || device['limits.write'] || '');
  return { readBytes: read.bytes, writeBytes: write.bytes, readOps: read.ops, writeOps: write.ops };
}

const throttled = (device: Device): boolean => Object.values(throttleOf(device)).some((value) => value > 0);

/**
 * Limits what a container's processes read from and write to the block device below a path. What has no block device (tmpfs, network and stacked file
 * systems) is passed over with a word in the log, as is a kernel without block throttling.
 */
export async function setThrottle(cgroup: string, path: string, device: Device, before: Device | undefined, log: Logger): Promise<void> {
  if (!throttled(device) && !(before && throttled(before))) return;
  const block = await blockDeviceOf(path);
  const layout = detectCgroups();
  const keys = block && throttleKeys(layout, block, throttleOf(device));
  if (!keys) {
    log.warn({ path }, 'no block device to limit here');
    return;
  }
  const group = new Cgroup(layout, cgroup);
  for (const { controller, key, value } of keys) {
    try {
      group.write(controller, key, value);
    } catch (error) {
      log.warn({ err: error, key }, 'this kernel does not limit block devices');
      return;
    }
  }
}

function throttleKeys(
  layout: CgroupLayout,
  block: string,
  throttle: Throttle,
): { controller: 'io' | 'blkio'; key: string; value: string }[] | undefined {
  const { readBytes, writeBytes, readOps, writeOps } = throttle;
  const max = (value: number): number | 'max' => value || 'max';
  if (layout.controllers.get('io')?.version === 2) {
    const value = `${block} rbps=${max(readBytes)} wbps=${max(writeBytes)} riops=${max(readOps)} wiops=${max(writeOps)}`;
    return [{ controller: 'io', key: 'io.max', value }];
  }
  if (!layout.controllers.has('blkio')) return undefined;
  return [
    { controller: 'blkio', key: 'blkio.throttle.read_bps_device', value: `${block} ${readBytes}` },
    { controller: 'blkio', key: 'blkio.throttle.write_bps_device', value: `${block} ${writeBytes}` },
    { controller: 'blkio', key: 'blkio.throttle.read_iops_device', value: `${block} ${readOps}` },
    { controller: 'blkio', key: 'blkio.throttle.write_iops_device', value: `${block} ${writeOps}` },
  ];
}

/** 'major:minor' of the whole disk that holds a path; undefined when none does. */
async function blockDeviceOf(path: string): Promise<string | undefined> {
  const device = mountOf(path, listMounts());
  let numbers = numbersOf(BigInt((await stat(path)).dev));
  // btrfs and the like number each file system themselves: its source says where it lies.
  if (numbers.startsWith('0:')) {
    if (!device?.source.startsWith('/dev/')) return undefined;
    numbers = numbersOf(BigInt((await stat(device.source)).rdev));
  }
  // The kernel limits whole disks, not partitions.
  const sys = `/sys/dev/block/${numbers}`;
  return existsSync(`${sys}/partition`) ? readFileSync(`${sys}/../dev`, 'utf8').trim() : numbers;
}

const numbersOf = (device: bigint): string =>
  `${((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)}:${(device & 0xffn) | ((device >> 12n) & 0xffffff00n)}`;
