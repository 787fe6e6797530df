import type { HostContext } from '#members';
import type { NetworkType } from '../model/index.js';
import { BridgeDriver } from './bridge/bridge.driver.js';
import type { NetworkDriver } from './driver.js';
import { MacvlanNetworkDriver } from './macvlan/macvlan.driver.js';

/** Type → driver. Adding one is a folder and a line. */
export const networkDrivers: Record<NetworkType, (context: HostContext) => NetworkDriver> = {
  bridge: (context) => new BridgeDriver(context),
  macvlan: () => new MacvlanNetworkDriver(),
};
