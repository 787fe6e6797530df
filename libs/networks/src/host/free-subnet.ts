import { randomInt } from 'node:crypto';
import { fault } from '#kit';
import type { ConfigMap } from '#api-contract';
import { overlap, parseSubnet, type Family, type Subnet } from '../model/index.js';
import { ipShow } from './ip.command.js';

/**
 * Replaces `auto` by a subnet that no route of this host touches, nor any of `taken` (addresses of other networks). Unlike LXD it sends no packet to find
 * out whether somebody behind the default route uses it too: that takes seconds, and silence proves nothing.
 * @throws Fault conflict
 */
export async function pickAddresses(config: ConfigMap, taken: readonly string[]): Promise<ConfigMap> {
  const picked = { ...config };
  for (const family of [4, 6] as const) {
    if (picked[`ipv${family}.address`] === 'auto') picked[`ipv${family}.address`] = await freeSubnet(family, taken);
  }
  return picked;
}

async function freeSubnet(family: Family, taken: readonly string[]): Promise<string> {
  const used = [...taken, ...(await routedSubnets(family))].map(parseSubnet).filter((subnet): subnet is Subnet => subnet !== undefined);
  for (let attempt = 0; attempt < 100; attempt++) {
    const text = family === 4 ? `10.${byte()}.${byte()}.1/24` : `fd42:${word()}:${word()}:${word()}::1/64`;
    const subnet = parseSubnet(text)!;
    if (!used.some((other) => overlap(other, subnet))) return text;
  }
  throw fault.conflict(`Failed to automatically find an unused IPv${family} subnet, manual configuration required`);
}

const byte = (): number => randomInt(255);
const word = (): string => randomInt(1, 65535).toString(16);

/** Subnets that the host's routing table knows, the default route left out. */
async function routedSubnets(family: Family): Promise<string[]> {
  const routes = await ipShow<{ dst: string }>([`-${family}`, 'route', 'show', 'table', 'all']);
  const full = family === 4 ? 32 : 128;
  return routes
    .map(({ dst }) => dst)
    .filter((dst) => dst !== 'default' && !/^(ff|fe80)/.test(dst))
    .map((dst) => (dst.includes('/') ? dst : `${dst}/${full}`));
}
