import type { DevicesMap } from '#api-contract';
import { isRootDisk } from '#instances/model';
import { profilesFor } from '#instances/state';
import { expand } from '#profiles/model';
import type { Reader } from '#replica/state';

/** The same devices with their root disk on `pool`: the device's own, or one that takes the place of a profile's. */
export function onPool(reader: Reader, project: string, devices: DevicesMap, profiles: readonly string[], pool: string): DevicesMap {
  const expanded = expand(profilesFor(reader, project, profiles), {}, devices).devices;
  const root = Object.entries(expanded).find(([, device]) => isRootDisk(device));
  if (root?.[1].pool === pool) return devices;
  let name = root?.[0] ?? 'root';
  for (let number = 0; !root && expanded[name]; number++) name = `root${number}`;
  return { ...devices, [name]: { ...(root?.[1] ?? { type: 'disk', path: '/' }), pool } };
}
