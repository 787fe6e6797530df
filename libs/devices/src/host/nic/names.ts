import { randomBytes } from 'node:crypto';

/** `veth1a2b3c4d`: 12 characters, since some DHCP clients handle no more than 13. */
export const randomLinkName = (prefix: string): string => `${prefix}${randomBytes(4).toString('hex')}`;

/** A MAC address from the range that containers of LXC have always had. */
export function randomMac(): string {
  const [a, b, c] = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0'));
  return `00:16:3e:${a}:${b}:${c}`;
}
