import { readFileSync } from 'node:fs';
import { errorCode } from './libc.js';
import type { HostIds, IdRange } from './idmap.js';

const usefulIds = 65_536;
const fallback: HostIds = { base: 1_000_000, size: 1_000_000_000 };

/** All ranges that a file like /etc/subuid gives a user. Lines that are no ranges do not count. */
export function subIds(text: string, user: string): HostIds[] {
  const ranges: HostIds[] = [];
  for (const line of text.split('\n')) {
    const [name, base, size] = line.split('#')[0]!.split(':');
    if (name?.toLowerCase() !== user.toLowerCase() || !/^\d+$/.test(base ?? '') || !/^\d+\s*$/.test(size ?? '')) continue;
    ranges.push({ base: Number(base), size: Number(size) });
  }
  return ranges;
}

export interface SubIdFiles {
  subuid: string | undefined;
  subgid: string | undefined;
}

/** /etc/subuid and /etc/subgid; undefined where there is no such file. */
export const readSubIdFiles = (): SubIdFiles => ({ subuid: readIfThere('/etc/subuid'), subgid: readIfThere('/etc/subgid') });

/**
 * The ids of this machine for containers: root's first range of at least 65,536 in both files, as LXD chooses it; 1000000:1000000000 if a file is
 * missing or has nothing for root. Undefined if root has only smaller ranges: then no container can be unprivileged.
 */
export function hostIds(files: SubIdFiles = readSubIdFiles()): { uid: HostIds; gid: HostIds } | undefined {
  if (files.subuid === undefined || files.subgid === undefined) return { uid: fallback, gid: fallback };
  const uids = subIds(files.subuid, 'root');
  const gids = subIds(files.subgid, 'root');
  if (uids.length === 0 || gids.length === 0) return { uid: fallback, gid: fallback };
  const uid = uids.find(({ size }) => size >= usefulIds);
  const gid = gids.find(({ size }) => size >= usefulIds);
  return uid && gid && { uid, gid };
}

/** May root hand these ids of the host to a container (raw.idmap)? Without the files there is nothing that forbids it. */
export function mayMap(entry: IdRange, files: SubIdFiles = readSubIdFiles()): boolean {
  const allowed = (text: string | undefined): boolean => {
    const ranges = text === undefined ? [] : subIds(text, 'root');
    return ranges.length === 0 || ranges.some(({ base, size }) => entry.hostId >= base && entry.hostId + entry.range <= base + size);
  };
  return (!entry.isUid || allowed(files.subuid)) && (!entry.isGid || allowed(files.subgid));
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
