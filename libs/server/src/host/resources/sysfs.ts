import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** A file of /sys or /proc without its final newline; undefined when there is none, or when the device does not tell. */
export function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

export function number(path: string): number | undefined {
  const value = Number(text(path) ?? NaN);
  return Number.isFinite(value) ? value : undefined;
}

/** Names in a folder, in the order of their numbers; [] when there is none. */
export function names(path: string): string[] {
  try {
    return readdirSync(path).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  } catch {
    return [];
  }
}

/** The last part of where a link points. */
export function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

export function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** LXD leaves out what is unknown ('', 0, false) from most of its hardware documents. */
export function known(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== '' && value !== 0 && value !== false));
}

/** A PCI vendor or device id without its 0x. */
export const hexId = (path: string): string => (text(path) ?? '').replace(/^0x/, '');

/** The bus address of the PCI device that a class device hangs on. */
export function pciAddress(device: string): string | undefined {
  const words = (linkTarget(device) ?? '').split('/').filter((word) => /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$/i.test(word));
  return words.at(-1);
}

/** NUMA node of a device; those that have none are of node 0. */
export const numaNode = (device: string): number => Math.max(0, number(`${device}/numa_node`) ?? 0);

/** Name of the driver that serves a device; '' when none does. */
export const driverOf = (device: string): string => linkName(`${device}/driver`) ?? '';
