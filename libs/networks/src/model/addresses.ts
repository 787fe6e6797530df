import ipaddr from 'ipaddr.js';

export type Family = 4 | 6;

/** One IP address. */
export interface Address {
  family: Family;
  value: bigint;
}

/** An address with its prefix: `10.1.2.3/24`. */
export interface Subnet {
  family: Family;
  /** As written: the host part is kept. */
  address: Address;
  prefix: number;
}

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

/** Undefined when the text is no address. IPv4 only with four decimal parts: shorter and octal forms mean different things to different programs. */
export function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return fromBytes(4, ipaddr.IPv4.parse(text).toByteArray());
  if (text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text)) return fromBytes(6, ipaddr.IPv6.parse(text).toByteArray());
  return undefined;
}

const fromBytes = (family: Family, bytes: readonly number[]): Address => ({
  family,
  value: bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n),
});

export function formatAddress({ family, value }: Address): string {
  const bytes = Array.from({ length: bitsOf(family) / 8 }, (_, index) => Number((value >> BigInt(bitsOf(family) - 8 * (index + 1))) & 0xffn));
  return family === 4 ? bytes.join('.') : new ipaddr.IPv6(bytes).toRFC5952String();
}

/** `10.1.2.3/24`; undefined when it is not one. */
export function parseSubnet(text: string): Subnet | undefined {
  const [head, tail, more] = text.split('/');
  if (head === undefined || tail === undefined || more !== undefined || !/^\d{1,3}$/.test(tail)) return undefined;
  const address = parseAddress(head);
  const prefix = Number(tail);
  return address && prefix <= bitsOf(address.family) ? { family: address.family, address, prefix } : undefined;
}

const hostMask = ({ family, prefix }: Subnet): bigint => (1n << BigInt(bitsOf(family) - prefix)) - 1n;

/** The first address of the subnet. */
export const baseOf = (subnet: Subnet): Address => ({ family: subnet.family, value: subnet.address.value & ~hostMask(subnet) });

/** The subnet itself, `10.1.2.0/24`. */
export const formatSubnet = (subnet: Subnet): string => `${formatAddress(baseOf(subnet))}/${subnet.prefix}`;

export const contains = (subnet: Subnet, address: Address): boolean =>
  subnet.family === address.family && (address.value & ~hostMask(subnet)) === baseOf(subnet).value;

export const overlap = (a: Subnet, b: Subnet): boolean => contains(a, baseOf(b)) || contains(b, baseOf(a));

/** The nth address from the start, or from the end when negative (-1: the last, which in IPv4 is the broadcast address). */
export function nthAddress(subnet: Subnet, n: number): Address {
  const base = baseOf(subnet).value;
  return { family: subnet.family, value: n >= 0 ? base + BigInt(n) : base + hostMask(subnet) + 1n + BigInt(n) };
}

export const sameAddress = (a: Address | undefined, b: Address | undefined): boolean =>
  a !== undefined && b !== undefined && a.family === b.family && a.value === b.value;

/** The address that a client with this MAC gives itself in a /64 (RFC 4291, appendix A). */
export function eui64(subnet: Subnet, mac: string): Address {
  const [a, b, c, d, e, f] = mac.split(':').map((word) => BigInt(`0x${word}`)) as [bigint, bigint, bigint, bigint, bigint, bigint];
  const suffix = [a ^ 2n, b, c, 0xffn, 0xfen, d, e, f].reduce((sum, byte) => (sum << 8n) | byte, 0n);
  return { family: 6, value: baseOf(subnet).value | suffix };
}

/** A first and last address of one family, `10.0.0.2-10.0.0.9`; undefined when it is not one. */
export function parseRange(text: string): { first: Address; last: Address } | undefined {
  const [head, tail, more] = text.split('-');
  const first = parseAddress(head?.trim() ?? '');
  const last = parseAddress(tail?.trim() ?? '');
  if (!first || !last || more !== undefined || first.family !== last.family || first.value > last.value) return undefined;
  return { first, last };
}

/** Words of a comma list, without blanks and empties. */
export const splitList = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
