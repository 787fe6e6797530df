import { existsSync, readdirSync } from 'node:fs';
import { readSysctl, writeSysctl } from '#host-kit';

/** Sets a kernel parameter (`net/ipv4/ip_forward`) unless it has the value. One that this kernel lacks is passed over. @throws Fault invalid */
export function setSysctl(path: string, value: string): void {
  const before = readSysctl(path);
  if (before !== undefined && before !== value) writeSysctl(path, value);
}

/** Entries of a directory of parameters: one per interface in net/ipv6/conf. */
export const sysctlEntries = (path: string): string[] => (existsSync(`/proc/sys/${path}`) ? readdirSync(`/proc/sys/${path}`) : []);
