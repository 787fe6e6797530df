import { fault } from '#kit';
import type { Idmap } from './idmap.js';
import { runOk } from './run.js';
import { shiftProgram } from './shift-program.js';

export interface ShiftResult {
  /** Files whose owner was changed. */
  changed: number;
  /** Files that were looked at. */
  seen: number;
}

export interface ShiftOptions {
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Gives all files of a tree the owners that another idmap wants: owners, POSIX ACLs and file capabilities. `from` is the map that the disk has now
 * ([] = ids as in the container), `to` the one it shall have; ids that `from` does not hold stay. Nobody else may be at work in the tree.
 *
 * A tree that was left half done is finished by the same call, provided that no id of `from`'s host range is one of `to`'s.
 * @param path of the host, trusted; links below it are changed themselves, never followed; other file systems mounted below are left alone
 * @throws Fault internal; unavailable: cancelled or out of time (default: none)
 */
export async function shiftTree(path: string, from: Idmap, to: Idmap, options: ShiftOptions = {}): Promise<ShiftResult> {
  const rules = shiftRules(from, to);
  const output = await runOk('perl', ['-e', shiftProgram, path, ...rules], {
    timeoutMs: options.timeoutMs ?? 24 * 3600 * 1000,
    signal: options.signal,
    failure: 'Could not change the owners of files',
  });
  const [changed, seen] = String(output).split(' ').map(Number);
  if (changed === undefined || seen === undefined) throw fault.internal('Could not change the owners of files', { detail: String(output) });
  return { changed, seen };
}

/** The two maps as one: 'u:FIRST:LAST:OFFSET' and 'g:…', each id of the disk in at most one rule. */
export function shiftRules(from: Idmap, to: Idmap): string[] {
  const everyId = [{ isUid: true, isGid: true, hostId: 0, nsId: 0, range: 0xffff_ffff }];
  const rules: string[] = [];
  for (const [kind, letter] of [
    ['isUid', 'u'],
    ['isGid', 'g'],
  ] as const) {
    for (const now of (from.length === 0 ? everyId : from).filter((entry) => entry[kind])) {
      for (const then of (to.length === 0 ? everyId : to).filter((entry) => entry[kind])) {
        const first = Math.max(now.nsId, then.nsId);
        const last = Math.min(now.nsId + now.range, then.nsId + then.range) - 1;
        if (first > last) continue;
        const offset = now.hostId - now.nsId;
        rules.push(`${letter}:${first + offset}:${last + offset}:${then.hostId - then.nsId - offset}`);
      }
    }
  }
  return rules;
}
