import { fault } from '#kit';
import { baseOf, parseAddress, parseRange, parseSubnet, splitList, type Family } from './addresses.js';

/** Checks of single values, in the words that clients of LXD see. Each throws Fault invalid. */
export type Check = (value: string) => void;

const fail = (message: string): never => {
  throw fault.invalid(message);
};

/** What the kernel and our own file names take as an interface name. */
export function interfaceName(value: string): void {
  if (value.length < 2) fail('Network interface is too short (minimum 2 characters)');
  if (value.length > 15) fail('Network interface is too long (maximum 15 characters)');
  if (!/^[-_a-zA-Z0-9.]+$/.test(value) || value === '..') fail('Network interface contains invalid characters');
}

/** Also a segment of URLs and a directory of the state. */
export function networkName(value: string): void {
  interfaceName(value);
  if (value.startsWith('-') || value.startsWith('.')) fail('Network interface contains invalid characters');
}

export function mac(value: string): void {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(value)) fail('Invalid MAC address, must be 6 bytes of hex separated by colons');
}

export function mtu(value: string): void {
  if (!/^\d{1,9}$/.test(value)) fail(`Invalid MTU "${value}"`);
  if (Number(value) < 1280 || Number(value) > 16384) fail(`Out of MTU range (1280-16384) "${value}"`);
}

export function vlan(value: string): void {
  if (!/^\d{1,9}$/.test(value)) fail(`Invalid VLAN ID "${value}"`);
  if (Number(value) > 4094) fail(`Out of VLAN ID range (0-4094) "${value}"`);
}

export const integerBetween =
  (low: number, high: number): Check =>
  (value) => {
    if (!/^\d{1,15}$/.test(value) || Number(value) < low || Number(value) > high) fail(`Invalid value for an integer "${value}"`);
  };

export const addressOf =
  (family: Family): Check =>
  (value) => {
    if (parseAddress(value)?.family !== family) fail(`Not an IPv${family} address "${value}"`);
  };

export function anyAddress(value: string): void {
  if (!parseAddress(value)) fail(`Not an IP address "${value}"`);
}

/** A network: `10.1.0.0/16`, without host bits. */
export const networkOf =
  (family: Family): Check =>
  (value) => {
    const subnet = parseSubnet(value);
    if (subnet?.family !== family) fail(`Not an IPv${family} network "${value}"`);
    else if (subnet.address.value !== baseOf(subnet).value) fail(`Not an IPv${family} network address "${value}"`);
  };

/** An interface's address with prefix: `10.1.0.1/16`. */
export const interfaceAddressOf =
  (family: Family): Check =>
  (value) => {
    const subnet = parseSubnet(value);
    if (subnet?.family !== family) fail(`Not an IPv${family} address "${value}"`);
    else if (subnet.address.value === baseOf(subnet).value) fail(`Not a usable IPv${family} address "${value}"`);
  };

export const rangeOf =
  (family: Family): Check =>
  (value) => {
    if (!value.includes('-')) fail('IP range must contain start and end IP addresses');
    for (const end of value.split('-')) addressOf(family)(end.trim());
    if (!parseRange(value)) fail(`Start IP must not be after end IP in range "${value}"`);
  };

export const listOf =
  (check: Check): Check =>
  (value) => {
    for (const word of splitList(value)) check(word);
  };

export const oneOf =
  (...words: string[]): Check =>
  (value) => {
    if (!words.includes(value)) fail(`Invalid value "${value}" (not one of [${words.join(' ')}])`);
  };

/** These words need no further check. */
export const orWords =
  (words: readonly string[], check: Check): Check =>
  (value) => {
    if (!words.includes(value)) check(value);
  };

/** Goes into one argument or one line of a file that another program reads. */
export function oneLine(value: string): void {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(value)) fail('Value contains control characters');
}

/** DNS name: `lxd`, `a.example`. */
export function domainName(value: string): void {
  if (value.length > 253 || !/^[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?)*$/.test(value))
    fail(`Invalid domain name "${value}"`);
}
