import { linkExists } from '#host-kit';
import { fault } from '#kit';
import type { ManagedNetwork } from '../../model/index.js';
import type { NetworkDriver } from '../driver.js';

/** A name for an interface of the host on which nics of type macvlan stand: nothing on the host is the network's own. */
export class MacvlanNetworkDriver implements NetworkDriver {
  readonly capabilities = { addresses: false, projects: false };

  check(network: ManagedNetwork): Promise<void> {
    return this.apply(network);
  }

  apply({ config }: ManagedNetwork): Promise<void> {
    const parent = config['parent'] ?? '';
    return linkExists(parent) ? Promise.resolve() : Promise.reject(fault.invalid(`Parent interface "${parent}" not found`));
  }

  remove(): Promise<void> {
    return Promise.resolve();
  }

  rename(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  sweep(): Promise<void> {
    return Promise.resolve();
  }

  /** The VLAN interface comes with the first nic that needs it. */
  interfaceOf({ config }: ManagedNetwork): string | undefined {
    const { parent, vlan } = config;
    const link = vlan ? `${parent}.${vlan}` : (parent ?? '');
    return [link, parent ?? ''].find(linkExists);
  }

  release(): void {}
}
