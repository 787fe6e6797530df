import type { DevicesMap } from '#api-contract';
import { fault } from '#kit';

type Device = Record<string, string>;

export const isRootDisk = (device: Device): boolean => device.type === 'disk' && device.path === '/' && !device.source;

/** The device that holds the instance's root. @throws Fault invalid when there is none, or more than one */
export function rootDisk(devices: DevicesMap): { name: string; device: Device } {
  const roots = Object.entries(devices).filter(([, device]) => isRootDisk(device));
  if (roots.length > 1) throw fault.invalid('More than one root device found');
  const [root] = roots;
  if (!root) throw fault.invalid('No root device could be found');
  return { name: root[0], device: root[1] };
}

/** The pool of the instance's root. @throws Fault invalid */
export function rootPool(devices: DevicesMap): string {
  let pool: string | undefined;
  try {
    ({ pool } = rootDisk(devices).device);
  } catch (error) {
    throw fault.invalid(`Failed getting root disk: ${(error as Error).message}`);
  }
  if (!pool) throw fault.invalid("The instance's root device is missing the pool property");
  return pool;
}

/** Names of devices in the order in which they are prepared: disks by path, so that outer mounts come first, before them all others by name. */
export function deviceOrder(devices: DevicesMap): string[] {
  const key = (name: string): string => {
    const device = devices[name]!;
    return device.type === 'disk' ? `1${device.path ?? ''}` : '0';
  };
  return Object.keys(devices).sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a < b ? -1 : 1));
}

/** What a change of expanded devices means: a device of another type, or with other keys than `liveKeys` changed, is removed and added. */
export function deviceChanges(
  before: DevicesMap,
  after: DevicesMap,
  liveKeys: (device: Device) => readonly string[],
): { removed: string[]; added: string[]; updated: string[] } {
  const changed = (name: string): string[] => {
    const [a, b] = [before[name]!, after[name]!];
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => (a[key] ?? '') !== (b[key] ?? ''));
  };
  const removed = Object.keys(before).filter((name) => !after[name]);
  const added = Object.keys(after).filter((name) => !before[name]);
  const updated: string[] = [];
  for (const name of Object.keys(before)) {
    if (!after[name]) continue;
    const keys = changed(name);
    if (keys.length === 0) continue;
    const live = before[name]!.type === after[name].type ? liveKeys(after[name]) : [];
    if (keys.every((key) => live.includes(key))) updated.push(name);
    else {
      removed.push(name);
      added.push(name);
    }
  }
  return { removed, added, updated };
}
