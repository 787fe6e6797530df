import { X509Certificate, createPrivateKey } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fault } from '#kit';
import { selfSigned, type KeyPair } from './self-signed.js';

/**
 * This member's own key pair, `server.crt` and `server.key` (0600) in the state directory; made when they are missing. The key is written first, so that a
 * certificate on disk always has its key.
 * @throws Fault internal when what is there is no pair
 */
export async function serverCertificate(stateDir: string, name: string): Promise<KeyPair> {
  return readPair(stateDir, 'server') ?? writePair(stateDir, 'server', await selfSigned(name));
}

/** A key pair of the state directory by its name (`server`, `cluster`); undefined when there is none. @throws Fault internal */
export function readPair(stateDir: string, name: string): KeyPair | undefined {
  const certificate = read(join(stateDir, `${name}.crt`));
  const key = read(join(stateDir, `${name}.key`));
  if (certificate === undefined || key === undefined) return undefined;
  if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
    throw fault.internal(`${name}.crt and ${name}.key of the state directory do not belong together`);
  }
  return { certificate, key };
}

export function writePair(stateDir: string, name: string, pair: KeyPair): KeyPair {
  write(join(stateDir, `${name}.key`), pair.key, 0o600);
  write(join(stateDir, `${name}.crt`), pair.certificate, 0o644);
  return pair;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, also after a power cut. */
function write(path: string, text: string, mode: number): void {
  const beside = `${path}.new`;
  const fd = openSync(beside, 'w', mode);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(beside, path);
}
