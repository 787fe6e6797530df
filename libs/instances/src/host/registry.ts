import type { Logger } from '#kit';
import type { DriverOptions, InstanceDriver } from './driver.js';
import { LxcDriver } from './lxc/lxc.driver.js';

export interface RegistryOptions extends DriverOptions {
  stateDir: string;
  log: Logger;
}

/** One line a driver. */
export const drivers = {
  lxc: (options: RegistryOptions): InstanceDriver => new LxcDriver({ ...options, directory: `${options.stateDir}/lxc` }),
};
