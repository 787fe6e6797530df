import type { Logger } from '#kit';
import type { DriverOptions, InstanceDriver } from './driver.js';
import { LxcDriver } from './lxc/lxc.driver.js';
import { MemoryDriver } from './memory/memory.driver.js';

export interface RegistryOptions extends DriverOptions {
  stateDir: string;
  log: Logger;
}

/** One line a driver. */
export const drivers = {
  memory: (options: RegistryOptions): InstanceDriver => new MemoryDriver(options),
  lxc: (options: RegistryOptions): InstanceDriver => new LxcDriver({ ...options, directory: `${options.stateDir}/lxc` }),
};
