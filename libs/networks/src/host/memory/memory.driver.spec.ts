import { networkDriverContract } from '#testkit';
import type { ManagedNetwork } from '../../model/index.js';
import { MemoryNetworkDriver } from './memory.driver.js';

networkDriverContract('memory', () => {
  const driver = new MemoryNetworkDriver();
  const network: ManagedNetwork = { id: 1, project: 'default', name: 'br0', type: 'bridge', config: { 'ipv4.address': '10.0.0.1/24' } };
  const other: ManagedNetwork = { ...network, id: 2, name: 'br1', config: { 'ipv4.address': '10.1.0.1/24' } };
  return Promise.resolve({ driver, network, other, again: () => driver, [Symbol.asyncDispose]: async () => {} });
});
