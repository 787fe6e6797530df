import { readFileSync, writeFileSync } from 'node:fs';
import { fault } from '#kit';
import { errorCode } from './libc.js';

/**
 * Kernel parameters by path below /proc/sys ('net/ipv6/conf/br0.5/disable_ipv6'): with slashes, since names of interfaces may hold dots.
 * @returns undefined if the kernel has no such parameter
 */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(fileOf(path), 'latin1').trimEnd();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** @throws Fault unsupported: no such parameter; invalid: the kernel refuses the value */
export function writeSysctl(path: string, value: string | number): void {
  try {
    writeFileSync(fileOf(path), String(value), { flag: 'r+' });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    if (errorCode(error) === 'ENOENT') throw fault.unsupported(`The kernel has no parameter '${path}'`, { cause: error });
    throw fault.invalid(`The kernel refuses '${value}' for '${path}'`, { cause: error });
  }
}

function fileOf(path: string): string {
  const names = path.split('/');
  if (names.some((name) => !/^[\w.@:+-]+$/.test(name) || name === '.' || name === '..')) throw fault.invalid(`Invalid kernel parameter: ${path}`);
  return `/proc/sys/${path}`;
}
