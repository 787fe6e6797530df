import { fault } from '#kit';

export const isFingerprint = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);

/** A fingerprint or the beginning of one. */
export const isFingerprintPrefix = (text: string): boolean => /^[0-9a-f]{1,64}$/.test(text);

/** Any text but the empty one, which could not be asked for, and what breaks a line. @throws Fault invalid */
export function checkAliasName(name: string): void {
  if (name === '') throw fault.invalid('No alias name provided');
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(name) || name.length > 255) throw fault.invalid(`Invalid alias name "${name.slice(0, 80)}"`);
}
