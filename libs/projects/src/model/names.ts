import { fault } from '#kit';

/** @throws Fault invalid */
export function checkProjectName(name: string): void {
  if (name === '') throw fault.invalid('No name provided');
  if (name.includes('/')) throw fault.invalid('Project names may not contain slashes');
  if (name.includes(' ')) throw fault.invalid('Project names may not contain spaces');
  if (name.includes('_')) throw fault.invalid('Project names may not contain underscores');
  if (name.includes("'") || name.includes('"')) throw fault.invalid('Project names may not contain quotes');
  if (name === '*') throw fault.invalid('Reserved project name');
  if (name === '.' || name === '..') throw fault.invalid(`Invalid project name "${name}"`);
  if (name.length > 63) throw fault.invalid('Project names may not be longer than 63 characters');
}
