import { readFileSync } from 'node:fs';

/** One line of /proc/PID/mountinfo; see proc(5). */
export interface MountEntry {
  id: number;
  parentId: number;
  /** 'major:minor' of the device. */
  device: string;
  /** The folder of the file system that is seen at `target`. */
  root: string;
  target: string;
  /** Of the mount: 'rw', 'nosuid' … */
  options: string[];
  /** 'shared:N', 'master:N' … */
  propagation: string[];
  type: string;
  source: string;
  /** Of the file system, the same wherever it is mounted. */
  superOptions: string[];
}

/** All mounts that a process sees, in the order they were made. @param pid default: our own. @throws SystemError-like of Node when the process is gone */
export function listMounts(pid: number | 'self' = 'self'): MountEntry[] {
  return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
}

export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const words = line.split(' ');
    const separator = words.indexOf('-', 6);
    if (separator < 0) continue;
    entries.push({
      id: Number(words[0]),
      parentId: Number(words[1]),
      device: words[2]!,
      root: unescape(words[3]!),
      target: unescape(words[4]!),
      options: words[5]!.split(','),
      propagation: words.slice(6, separator),
      type: words[separator + 1] ?? '',
      source: unescape(words[separator + 2] ?? ''),
      superOptions: (words[separator + 3] ?? '').split(','),
    });
  }
  return entries;
}

/** The mount that is on top at exactly this path; undefined if it is no mount point. */
export function mountAt(path: string, entries: MountEntry[] = listMounts()): MountEntry | undefined {
  return entries.findLast((entry) => entry.target === path);
}

/** The mount that holds a path (an absolute one without symlinks). */
export function mountOf(path: string, entries: MountEntry[] = listMounts()): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of entries) {
    const holds = entry.target === '/' || path === entry.target || path.startsWith(`${entry.target}/`);
    if (holds && (!best || entry.target.length >= best.target.length)) best = entry;
  }
  return best;
}

/** Targets at or below a path, innermost first: the order in which they can be unmounted. */
export function mountsBelow(path: string, entries: MountEntry[] = listMounts()): MountEntry[] {
  return entries.filter((entry) => entry.target === path || entry.target.startsWith(`${path}/`)).toReversed();
}

/** The kernel writes blank, tab, newline, backslash and # as octal. Octal escapes are bytes, but only of ASCII. */
const unescape = (text: string): string => text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
