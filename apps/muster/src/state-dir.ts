import { resolve } from 'node:path';

export const defaultStateDir = '/var/lib/muster';

/** LXD_DIR (so that LXD's own scripts work), MUSTER_DIR, or /var/lib/muster. */
export function stateDir(environment: NodeJS.ProcessEnv = process.env): string {
  return resolve(environment.MUSTER_DIR || environment.LXD_DIR || defaultStateDir);
}

export const socketPath = (dir: string): string => `${dir}/unix.socket`;
