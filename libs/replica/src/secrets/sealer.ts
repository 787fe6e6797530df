import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fault } from '#kit';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PREFIX = 'sealed:1:';

/**
 * Secrets that must be shown or used again (live tokens, keys of external services), sealed for the database: AES-256-GCM under a key that is in
 * no database. `place` says what the value is (`tokens/17`); a sealed value that was moved to another place does not open.
 */
export interface Sealer {
  seal(plain: string, place: string): string;
  /** @throws Fault internal if it was sealed under another key, for another place, or was changed */
  open(sealed: string, place: string): string;
}

export const isSealed = (value: string): boolean => value.startsWith(PREFIX);

/** @param key 32 bytes */
export function sealerWith(key: Uint8Array): Sealer {
  if (key.length !== KEY_BYTES) throw fault.invalid('The cluster key is damaged', { detail: `${key.length} bytes` });
  return {
    seal(plain, place) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(place));
      return PREFIX + Buffer.concat([nonce, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64');
    },
    open(sealed, place) {
      const bytes = Buffer.from(sealed.slice(PREFIX.length), 'base64');
      try {
        if (!isSealed(sealed)) throw new Error('not a sealed value');
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
        decipher.setAAD(Buffer.from(place)).setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw fault.internal('A stored secret cannot be read', { cause, detail: `${place}: sealed under another key, or damaged` });
      }
    },
  };
}

/**
 * The sealer of this member's cluster: its key lies in `secrets.key` of the state directory, 0600, beside the cluster certificate's key. The
 * first member makes it; the others are handed it at join (`installClusterKey`) and never make one: pass `make: false` there.
 * @throws Fault invalid if the file is missing, damaged, or can be read by others
 */
export function openSealer(stateDir: string, options: { make?: boolean } = {}): Sealer {
  const path = keyPath(stateDir);
  if (!existsSync(path)) {
    if (options.make === false) throw fault.invalid('The cluster key is missing');
    installClusterKey(stateDir, randomBytes(KEY_BYTES));
  }
  if ((statSync(path).mode & 0o077) !== 0) throw fault.invalid('The cluster key can be read by others', { detail: path });
  return sealerWith(readFileSync(path));
}

/** Durable when it returns; a crash leaves the old key or the new one. */
export function installClusterKey(stateDir: string, key: Uint8Array): void {
  sealerWith(key);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const part = `${keyPath(stateDir)}.part`;
  const fd = openSync(part, 'w', 0o600);
  try {
    writeSync(fd, key);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(part, keyPath(stateDir));
  const directory = openSync(dirname(part), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

const keyPath = (stateDir: string): string => join(stateDir, 'secrets.key');
