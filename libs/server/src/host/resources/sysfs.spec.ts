import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mdev } from './buses.js';
import { linkTo, usbAddress } from './sysfs.js';

let root: string;
const file = (path: string, content: string): void => {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), `${content}\n`);
};
beforeEach(() => void (root = mkdtempSync(join(tmpdir(), 'muster-sysfs-'))));
afterEach(() => rmSync(root, { recursive: true, force: true }));

it('finds where the USB device of a device is plugged in, and nothing for others', () => {
  file('usb1/1-2/busnum', '1');
  file('usb1/1-2/devnum', '7');
  mkdirSync(join(root, 'usb1/1-2/1-2:1.0/host0/target'), { recursive: true });
  symlinkSync(join(root, 'usb1/1-2/1-2:1.0/host0/target'), join(root, 'device'));
  expect([usbAddress(join(root, 'device')), usbAddress(root), usbAddress('/none')]).toEqual(['1:7', undefined, undefined]);
});

it('finds the name that leads to a device', () => {
  mkdirSync(join(root, 'by-id'));
  symlinkSync('../../sdb', join(root, 'by-id/ata-other'));
  symlinkSync('../../sda', join(root, 'by-id/ata-disk'));
  expect([linkTo(join(root, 'by-id'), 'sda'), linkTo(join(root, 'by-id'), 'sdc')]).toEqual(['ata-disk', undefined]);
});

it('shows into what a card can be parted', () => {
  file('types/i915-GVTg_V5_4/available_instances', '2');
  file('types/i915-GVTg_V5_4/device_api', 'vfio-pci');
  mkdirSync(join(root, 'types/i915-GVTg_V5_4/devices/0bd2'), { recursive: true });
  expect(mdev(join(root, 'types'))).toEqual({ 'i915-GVTg_V5_4': { api: 'vfio-pci', available: 2, devices: ['0bd2'] } });
  expect(mdev(join(root, 'none'))).toBeUndefined();
});
