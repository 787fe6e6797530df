import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

const path = (name: string): string => `/proc/sys/${name}`;

/** Reads `net/ipv4/ip_forward`; '' when the kernel has no such setting. Names use slashes: interface names hold dots. */
export function sysctl(name: string): string {
  try {
    return readFileSync(path(name), 'utf8').trim();
  } catch {
    return '';
  }
}

/** Sets it unless it already has the value. A setting that this kernel lacks is passed over. @throws the write's error */
export function setSysctl(name: string, value: string): void {
  if (!existsSync(path(name)) || sysctl(name) === value) return;
  writeFileSync(path(name), value);
}

/** Entries of a directory of settings: one per interface in net/ipv6/conf. */
export const sysctlEntries = (name: string): string[] => (existsSync(path(name)) ? readdirSync(path(name)) : []);
