export * from './device-driver.js';
export { randomMac } from './nic/names.js';
export { sweepNics } from './nic/veth.js';
export * from './registry.js';
