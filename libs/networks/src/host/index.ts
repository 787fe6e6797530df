export * from './driver.js';
export { Firewall } from './firewall.js';
export { hostInterfaces, interfaceState, scopeOf } from './interfaces.js';
export { addressesOf, ipBatch, ipMaybe, ipShow, linkFile, linksByAlias } from './ip.command.js';
export { MemoryNetworkDriver } from './memory/memory.driver.js';
export * from './networks.host.js';
export { Serial } from './serial.js';
export { setSysctl } from './sysctl.js';
export type { NicKey, StaticHost } from './bridge/static-hosts.js';
