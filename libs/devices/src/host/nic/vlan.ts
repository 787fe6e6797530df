import { deleteLink, linkExists } from '#host-kit';
import { fault } from '#kit';
import { ipBatch } from '#networks/host';
import { isTrue } from '#config-keys';
import type { Device } from '../device-driver.js';

/** The interface of the host that a nic stands on: its parent, or a VLAN of it. */
export const hostInterfaceOf = (nic: Device): string => (nic['vlan'] ? `${nic['parent']}.${nic['vlan']}` : (nic['parent'] ?? ''));

/** Makes the VLAN interface of a nic unless it has none or it is there. @returns true when it was made. @throws Fault invalid: no such parent */
export async function makeVlan(nic: Device): Promise<boolean> {
  const parent = nic['parent'] ?? '';
  if (!linkExists(parent)) throw fault.invalid(`Parent device "${parent}" doesn't exist`);
  const link = hostInterfaceOf(nic);
  if (link === parent || linkExists(link)) return false;
  const gvrp = isTrue(nic['gvrp']) ? ['gvrp', 'on'] : [];
  await ipBatch(
    [
      ['link', 'add', 'link', parent, 'name', link, 'type', 'vlan', 'id', nic['vlan']!, ...gvrp],
      ['link', 'set', 'dev', link, 'up'],
    ],
    `Failed to create VLAN interface "${link}"`,
  );
  return true;
}

/** For a VLAN interface that `makeVlan` made, when its last user is gone; others of the host keep it while they stand on it. */
export async function removeVlan(nic: Device): Promise<void> {
  if (nic['vlan']) await deleteLink(hostInterfaceOf(nic));
}
