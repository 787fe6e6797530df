import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

const saltBytes = 32;
const keyBytes = 64;
const cost = { N: 16384, r: 8, p: 1 };

let running: Promise<unknown> = Promise.resolve();

/** One scrypt at a time: each takes 16 MiB and a thread of the pool, which the host's work needs more. */
function derive(password: string, salt: Buffer): Promise<Buffer> {
  const next = running.then(
    () =>
      new Promise<Buffer>((resolve, reject) => {
        scrypt(password, salt, keyBytes, cost, (error, key) => (error ? reject(error) : resolve(key)));
      }),
  );
  running = next.catch(() => undefined);
  return next;
}

/** LXD's form of core.trust_password: hex of salt (32 bytes) and scrypt key (N=16384, r=8, p=1, 64 bytes). */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  return Buffer.concat([salt, await derive(password, salt)]).toString('hex');
}

export async function passwordMatches(hash: string, password: string): Promise<boolean> {
  const stored = Buffer.from(hash, 'hex');
  if (password === '' || stored.length !== saltBytes + keyBytes) return false;
  return timingSafeEqual(await derive(password, stored.subarray(0, saltBytes)), stored.subarray(saltBytes));
}

/** Compares secrets without telling by its time how much of them is right. */
export function sameSecret(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
