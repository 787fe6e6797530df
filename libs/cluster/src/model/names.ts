import { fault } from '#kit';

/** Begins a target that is a group. */
export const groupPrefix = '@';

/** @throws Fault invalid */
export function checkMemberName(name: string): void {
  if (name === '') throw fault.invalid('ServerName is required when enabling clustering');
  if (name.startsWith(groupPrefix)) throw fault.invalid(`ServerName may not start with "${groupPrefix}"`);
  // It stands in URLs, in headers and in the location of events.
  if (name === 'none' || name === '.' || name === '..' || name.length > 63 || !/^[\w.-]+$/.test(name))
    throw fault.invalid(`Invalid server name "${name}"`);
}

/** @throws Fault invalid, with LXD's words */
export function checkGroupName(name: string): void {
  if (name === '') throw fault.invalid('No name provided');
  if (name.includes('/')) throw fault.invalid('Cluster group names may not contain slashes');
  if (name.includes(' ')) throw fault.invalid('Cluster group names may not contain spaces');
  if (name.includes('_')) throw fault.invalid('Cluster group names may not contain underscores');
  if (/['"]/.test(name)) throw fault.invalid('Cluster group names may not contain quotes');
  if (name === '*') throw fault.invalid('Reserved cluster group name');
  if (name === '.' || name === '..') throw fault.invalid(`Invalid cluster group name "${name}"`);
}
