import { readFileSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';

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

/** Where the USB device that a class device hangs on is plugged in, as BUS:DEVICE; undefined for what hangs on none. */
export function usbAddress(device: string): string | undefined {
  let at: string;
  try {
    at = realpathSync(device);
  } catch {
    return undefined;
  }
  for (; at !== dirname(at); at = dirname(at)) {
    const [bus, number] = [text(`${at}/busnum`), text(`${at}/devnum`)];
    if (bus !== undefined && number !== undefined) return `${bus}:${number}`;
  }
  return undefined;
}

/** The first name in a folder of links (/dev/disk/by-id …) that leads to a device. */
export const linkTo = (folder: string, device: string): string | undefined => names(folder).find((name) => linkName(`${folder}/${name}`) === device);

/** NUMA node of a device; those that have none are of node 0. */
export const numaNode = (device: string): number => Math.max(0, number(`${device}/numa_node`) ?? 0);

/** Name of the driver that serves a device; '' when none does. */
export const driverOf = (device: string): string => linkName(`${device}/driver`) ?? '';
