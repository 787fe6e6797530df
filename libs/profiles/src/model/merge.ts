import type { ConfigMap, DevicesMap, ProfilePut } from '#api-contract';

/** What an instance has in force: its profiles in order, later ones over earlier, its own config and devices over all. A device is replaced whole. */
export function expand(
  profiles: readonly Pick<ProfilePut, 'config' | 'devices'>[],
  config: ConfigMap,
  devices: DevicesMap,
): { config: ConfigMap; devices: DevicesMap } {
  return {
    config: Object.assign({}, ...profiles.map((profile) => profile.config), config) as ConfigMap,
    devices: Object.assign({}, ...profiles.map((profile) => profile.devices), devices) as DevicesMap,
  };
}

/** Targets of reference rows that devices name: pools and managed networks. */
export function devicesUse(devices: DevicesMap): { pools: string[]; networks: string[]; volumes: { pool: string; name: string }[] } {
  const all = Object.values(devices);
  const disks = all.filter((device) => device.type === 'disk' && device.pool);
  return {
    pools: disks.map((device) => device.pool!),
    networks: all
      .filter((device) => device.type === 'nic')
      .flatMap((device) => [device.network, device.parent].filter((name): name is string => Boolean(name))),
    volumes: disks.filter((device) => device.source && device.path !== '/').map((device) => ({ pool: device.pool!, name: device.source! })),
  };
}
