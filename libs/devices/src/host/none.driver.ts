import type { DeviceDriver } from './device-driver.js';

/** Stands where a profile's device is not wanted. */
export const noneDriver: DeviceDriver = {
  liveKeys: [],
  prepare: () => Promise.resolve({ lxc: [] }),
  attach: () => Promise.resolve(),
  detach: () => Promise.resolve(),
  update: () => Promise.resolve(),
};
