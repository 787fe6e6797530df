import { createHash, randomBytes } from 'node:crypto';
import type { DeviceOwner } from '../device-driver.js';

/** `veth1a2b3c4d`: 12 characters, since some DHCP clients handle no more than 13. */
export const randomLinkName = (prefix: string): string => `${prefix}${randomBytes(4).toString('hex')}`;

/** A MAC address from the range that containers of LXC have always had. */
export function randomMac(): string {
  const [a, b, c] = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0'));
  return `00:16:3e:${a}:${b}:${c}`;
}

/** Stands for a nic in names of nftables' chains, which may hold few characters, and names of devices many. */
export const nicLabel = (owner: Pick<DeviceOwner, 'id'>, name: string): string =>
  `i${owner.id}.${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
