import type { HostContext } from '#members';
import type { Idmap } from '#host-kit';

/** The instance that a device belongs to, as devices see it. */
export interface DeviceOwner {
  readonly id: number;
  readonly project: string;
  readonly name: string;
  readonly type: 'container' | 'virtual-machine';
  /** Expanded config, volatile keys included. */
  readonly config: Record<string, string>;
  /** Expanded devices. */
  readonly devices: Record<string, Record<string, string>>;
  /** Map of the running or starting container; undefined when privileged. */
  readonly idmap?: Idmap;
  /** Of its init, while it runs. */
  readonly pid?: number;
  /** STATE/devices/[project_]name: nodes and mount sources. */
  readonly devicesDir: string;
  /** STATE/shmounts-like directory that is shared into the running container (see reference: mount injection). */
  readonly injectDir: string;
  /** Writes `volatile.<device>.<key>` for the device at hand; '' unsets. Recorded before the next step. */
  setVolatile(keys: Record<string, string>): Promise<void>;
}

/** What a device needs of a container that is about to start. */
export interface PreparedDevice {
  /** Lines for its LXC configuration, in order. */
  lxc: readonly (readonly [key: string, value: string])[];
  /** After the container's init runs. */
  afterStart?: (pid: number) => Promise<void>;
}

/**
 * One type of device on a host. `prepare`, `attach` and `detach` clean up after themselves when they fail; `detach` after the container stopped
 * (pid undefined) removes what is left on the host and is safe to repeat.
 */
export interface DeviceDriver {
  prepare(owner: DeviceOwner, name: string, device: Record<string, string>): Promise<PreparedDevice>;
  /** Into a running container. */
  attach(owner: DeviceOwner, name: string, device: Record<string, string>): Promise<void>;
  detach(owner: DeviceOwner, name: string, device: Record<string, string>): Promise<void>;
  /** Changes keys of `liveKeys` on a running container. */
  update(owner: DeviceOwner, name: string, before: Record<string, string>, after: Record<string, string>): Promise<void>;
  /** Keys that `update` can change while the instance runs; any other change is detach and attach. */
  readonly liveKeys: readonly string[];
}

export type DeviceDriverFactory = (context: HostContext) => DeviceDriver;
