import { createHash } from 'node:crypto';
import type { Naming } from '#members';
import { defaultStateDir } from '../state-dir.js';

/** Names that the host sees: plain for the daemon of the default directory, with the directory's hash for every other. */
export function namingOf(stateDir: string): Naming {
  const hash = stateDir === defaultStateDir ? '' : createHash('sha256').update(stateDir).digest('hex').slice(0, 6);
  return {
    hash,
    lxc: (project, instance) => [hash, project === 'default' ? instance : `${project}_${instance}`].filter((part) => part !== '').join('-'),
    nftTable: hash === '' ? 'muster' : `muster_${hash}`,
  };
}
