import type { DeviceDriver } from '#devices/host';
import type { EventHub } from '#events/host';
import type { ImageHost } from '#images/host';
import type { HostContext } from '#members';
import type { Operations } from '#operations/host';
import type { StorageHost } from '#storage/host';
import type { InstanceType } from '#api-contract';
import type { DriverOptions, InstanceDriver } from './driver.js';

/** What instances stand on, on this member. */
export interface InstanceHostPorts {
  context: HostContext;
  storage: StorageHost;
  images: Pick<ImageHost, 'fill' | 'has' | 'fetch'>;
  devices: {
    /** @throws Fault unsupported */
    driver(device: Readonly<Record<string, string>>): DeviceDriver;
  };
  operations: Operations;
  /** For what changes no row: exec, console, files. */
  events: EventHub;
  /** Default: those of the registry. */
  drivers?: (options: DriverOptions) => Partial<Record<InstanceType, InstanceDriver>>;
  /** Host addresses of nics without one; the same as devices make them. */
  randomMac: () => string;
  /** Only unprivileged containers may be made here. Default: any. */
  unprivilegedOnly?: boolean;
  /** An instance that should run could not be started: a warning. */
  autostartFailed?: (project: string, name: string, error: unknown) => Promise<void> | void;
}
