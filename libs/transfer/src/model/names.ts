import { fault } from '#kit';
import { prefixedName } from '#storage/model';

/**
 * A name out of a stranger's file that will become a path or an argument: one part of a path, and nothing a program takes for an option.
 * @throws Fault invalid
 */
export function checkPlainName(name: string): void {
  // eslint-disable-next-line no-control-regex
  if (name === '' || name === '.' || name === '..' || name.startsWith('-') || /[/\u0000-\u001f\u007f]/.test(name) || Buffer.byteLength(name) > 255)
    throw fault.invalid(`Invalid backup: bad name "${name.slice(0, 64)}"`);
}

/** Of a backup. @throws Fault invalid with LXD's words */
export function checkBackupName(name: string): void {
  if (name.includes('/')) throw fault.invalid('Backup names may not contain slashes');
  // eslint-disable-next-line no-control-regex
  if (name === '' || name === '.' || name === '..' || /[\u0000-\u001f\u007f]/.test(name) || Buffer.byteLength(name) > 190)
    throw fault.invalid(`Invalid backup name "${name.slice(0, 64)}"`);
}

/** The name of a backup whose maker gave none: backup0, backup1 … one above the highest. */
export function nextBackupName(taken: readonly string[]): string {
  const numbers = taken.map((name) => /^backup(\d{1,9})$/.exec(name)?.[1]).filter((number) => number !== undefined);
  return `backup${Math.max(-1, ...numbers.map(Number)) + 1}`;
}

/** Directory of an instance's backups below STATE/backups. */
export const instanceBackupsPath = (project: string, instance: string): string => `instances/${prefixedName(project, instance)}`;

/** Directory of a custom volume's backups below STATE/backups. */
export const volumeBackupsPath = (pool: string, project: string, volume: string): string => `custom/${pool}/${project}_${volume}`;
