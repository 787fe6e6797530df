import { fault } from '#kit';

/** @throws Fault invalid */
export function checkProfileName(name: string): void {
  if (name === '') throw fault.invalid('No name provided');
  if (name.includes('/')) throw fault.invalid('Profile names may not contain slashes');
  if (name === '.' || name === '..') throw fault.invalid(`Invalid profile name "${name}"`);
  if (name.length > 255) throw fault.invalid('Profile names may not be longer than 255 characters');
}
