import { effectiveNic, freeNicName } from '../../model/index.js';
import type { Device, DeviceOwner } from '../device-driver.js';
import { randomMac } from './names.js';

/** A nic with everything that it needs: what neither its keys nor the instance's volatile ones say is made, and recorded. */
export async function completeNic(
  owner: DeviceOwner,
  name: string,
  device: Device,
  options: { mac: boolean },
): Promise<Record<string, string> & { name: string }> {
  // A host_name that is recorded is of a run before, or came with a backup: only what the user says counts.
  const { host_name: _, ...nic } = effectiveNic(name, device, owner.config);
  if (device['host_name']) nic['host_name'] = device['host_name'];
  const made: Record<string, string> = {};
  if (options.mac && !nic['hwaddr']) made['hwaddr'] = randomMac();
  if (!nic['name']) made['name'] = freeNicName(owner.devices, owner.config);
  if (Object.keys(made).length > 0) await owner.setVolatile(made);
  return { ...nic, ...made, name: nic['name'] ?? made['name']! };
}
