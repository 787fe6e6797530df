import type { Idmap } from '#host-kit';

export type Device = Readonly<Record<string, string>>;

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
  /** STATE/devices/[project_]name: nodes and mount sources. Need not exist yet. */
  readonly devicesDir: string;
  /** STATE/shmounts-like directory that is shared into the running container (see reference: mount injection). */
  readonly injectDir: string;
  /** Directory of LXC (`lxc-cgroup -P`): only hosts with nothing but cgroup v2 need it, to allow a device to a running container. */
  readonly lxcPath?: string;
  /** Writes `volatile.<device>.<key>` for the device at hand; '' unsets. Recorded before the next step. */
  setVolatile(keys: Record<string, string>): Promise<void>;
}

/** What a device needs of a container that is about to start. */
export interface PreparedDevice {
  /** Lines for its LXC configuration, in order. Numbers of lxc.net.N are already unique in the instance. */
  lxc: readonly (readonly [key: string, value: string])[];
  /** After the container's init runs; at a reboot that the container made itself it is not called again. */
  afterStart?: (pid: number) => Promise<void>;
}

/**
 * One type of device on a host. `prepare`, `attach` and `detach` clean up after themselves when they fail; `detach` after the container stopped
 * (pid undefined) removes what is left on the host and is safe to repeat. What `prepare` made survives a reboot of the container, in which its monitor
 * starts it again without asking anybody.
 */
export interface DeviceDriver {
  /** @throws Fault: the instance cannot start with this device */
  prepare(owner: DeviceOwner, name: string, device: Device): Promise<PreparedDevice>;
  /** Into a running container. */
  attach(owner: DeviceOwner, name: string, device: Device): Promise<void>;
  detach(owner: DeviceOwner, name: string, device: Device): Promise<void>;
  /** Changes keys of `liveKeys` on a running container. */
  update(owner: DeviceOwner, name: string, before: Device, after: Device): Promise<void>;
  /** Keys that `update` can change while the instance runs; any other change is detach and attach. */
  readonly liveKeys: readonly string[];
  /**
   * The device was added to the instance, or changed, whether it runs or not (before `attach` and `update`, and again before `prepare` is harmless): address
   * promises and quotas are made. @throws Fault conflict when they cannot be
   */
  added?(owner: DeviceOwner, name: string, device: Device): Promise<void>;
  /** The device or the instance is gone for good (after `detach`). Safe to repeat. */
  removed?(owner: DeviceOwner, name: string, device: Device): Promise<void>;
  /** The daemon started and found the instance running: takes up again what it holds for it (mount counts, watches). */
  resume?(owner: DeviceOwner, name: string, device: Device): Promise<void>;
}
