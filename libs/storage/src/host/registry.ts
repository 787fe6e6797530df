import { btrfsFactory } from './btrfs/btrfs.driver.js';
import { dirFactory } from './dir/dir.driver.js';
import type { DriverFactory } from './driver.js';
import { memoryFactory } from './memory/memory.driver.js';

/** Every storage driver. Adding one: a folder, a line here, a description in model/drivers.ts. */
export const driverFactories: Readonly<Record<string, DriverFactory>> = {
  btrfs: btrfsFactory,
  dir: dirFactory,
  memory: memoryFactory,
};
