import { fault } from '#kit';

/** LXD takes anything but slashes and white space; we also refuse what could leave its directory or break a mount table. */
function checkName(name: string, what: string): void {
  if (name.includes('/')) throw fault.invalid(`${what} names may not contain slashes`);
  if (/\s/u.test(name)) throw fault.invalid('Storage name cannot contain white space');
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/u.test(name)) throw fault.invalid(`${what} names may not contain control characters`);
  if (name === '.' || name === '..') throw fault.invalid(`Invalid name "${name}"`);
  if (Buffer.byteLength(name) > 190) throw fault.invalid(`${what} names may not be longer than 190 bytes`);
}

/** @throws Fault invalid */
export function checkPoolName(name: string): void {
  if (name === '') throw fault.invalid('No name provided');
  checkName(name, 'Storage pool');
  // The name becomes a directory, a file system label and part of a mount source.
  if (name.startsWith('-')) throw fault.invalid('Storage pool names may not begin with a hyphen');
}

/** Custom volumes and, by the same rule, their snapshots. @throws Fault invalid */
export function checkVolumeName(name: string): void {
  if (name === '') throw fault.invalid('No name provided');
  checkName(name, 'Storage volume');
}
