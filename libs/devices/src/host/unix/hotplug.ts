import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isTrue } from '#config-keys';
import { fault } from '#kit';
import type { Device } from '../device-driver.js';
import type { FoundNode } from './unix.driver.js';

const text = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
};

/** unix-hotplug: the nodes of USB devices with the vendor and product asked for, as they are when the instance starts or gets the device. */
export function findHotplugNodes(device: Device): FoundNode[] {
  const found = (['char', 'block'] as const).flatMap((type) =>
    listNumbers(`/sys/dev/${type}`).flatMap((numbers): FoundNode[] => {
      const folder = `/sys/dev/${type}/${numbers}`;
      const name = /^DEVNAME=(.+)$/m.exec(text(`${folder}/uevent`))?.[1];
      if (!name || !belongs(folder, device)) return [];
      const [major, minor] = numbers.split(':').map(Number) as [number, number];
      return [{ path: `/dev/${name}`, node: { type, major, minor } }];
    }),
  );
  if (found.length === 0 && isTrue(device['required'])) throw fault.invalid('Required Unix Hotplug device not found');
  return found;
}

function listNumbers(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whether the first USB device above the node is one that was asked for. */
function belongs(folder: string, device: Device): boolean {
  let path: string;
  try {
    path = realpathSync(folder);
  } catch {
    return false;
  }
  for (; path.startsWith('/sys/devices/'); path = dirname(path)) {
    const vendor = text(join(path, 'idVendor'));
    if (vendor === '') continue;
    const product = text(join(path, 'idProduct'));
    const fits = (wanted: string | undefined, is: string): boolean => !wanted || wanted.toLowerCase() === is;
    return fits(device['vendorid'], vendor) && fits(device['productid'], product);
  }
  return false;
}
