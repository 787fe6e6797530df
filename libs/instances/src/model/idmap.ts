import { fault } from '#kit';

/** One range of an id map, as LXD writes it into volatile.*.idmap; uid and gid ranges are entries of their own there. */
export interface IdmapEntry {
  Isuid: boolean;
  Isgid: boolean;
  Hostid: number;
  Nsid: number;
  Maprange: number;
}

/** Ids that root of the host may hand out: the first usable line of /etc/subuid, or LXD's default. */
export interface HostRange {
  base: number;
  size: number;
}

export const defaultHostRange: HostRange = { base: 1_000_000, size: 1_000_000_000 };
const isolatedSize = 65_536;

/** What other isolated containers of the member have taken. */
export interface TakenRange {
  base: number;
  size: number;
}

/**
 * The id map that a container gets at its next start, and its base (0 unless isolated).
 * @param taken ranges of the member's other isolated containers
 * @throws Fault invalid (raw.idmap) or unavailable (no room)
 */
export function chooseIdmap(
  config: Record<string, string>,
  host: HostRange,
  taken: readonly TakenRange[],
  isolated: boolean,
): { entries: IdmapEntry[]; base: number } {
  const raw = parseRawIdmap(config['raw.idmap'] ?? '');
  if (!isolated) return { entries: withRaw(both(host.base, host.size), raw), base: 0 };
  const size = idmapSize(config);
  if (config['security.idmap.base']) {
    const base = Number(config['security.idmap.base']);
    return { entries: withRaw(both(base, size), raw), base };
  }
  const base = firstHole(host, taken, size);
  return { entries: withRaw(both(base, size), raw), base };
}

/** Number of ids of an isolated container. */
export function idmapSize(config: Record<string, string>): number {
  const size = config['security.idmap.size'] ?? '';
  return size === '' || size === 'auto' ? isolatedSize : Number(size);
}

function firstHole(host: HostRange, taken: readonly TakenRange[], size: number): number {
  // The first range of the host belongs to what is not isolated.
  let base = host.base + isolatedSize;
  for (const range of taken.toSorted((a, b) => a.base - b.base)) {
    if (range.base + range.size <= base) continue;
    if (base + size <= range.base) break;
    base = range.base + range.size;
  }
  if (base + size > host.base + host.size) throw fault.unavailable('Not enough uid/gid available for the container');
  return base;
}

const both = (base: number, size: number): IdmapEntry[] => [
  { Isuid: true, Isgid: false, Hostid: base, Nsid: 0, Maprange: size },
  { Isuid: false, Isgid: true, Hostid: base, Nsid: 0, Maprange: size },
];

/** Lines "uid|gid|both HOST[-HOST] INSIDE[-INSIDE]". @throws Fault invalid */
export function parseRawIdmap(text: string): IdmapEntry[] {
  const entries: IdmapEntry[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const words = line.split(' ');
    if (words.length !== 3) throw fault.invalid(`Invalid ID map line "${line}"`);
    const outside = range(words[1]!);
    const inside = range(words[2]!);
    if (outside.size !== inside.size) throw fault.invalid(`The ID map ranges are of different sizes "${line}"`);
    const entry = { Hostid: outside.base, Nsid: inside.base, Maprange: inside.size };
    if (words[0] !== 'uid' && words[0] !== 'gid' && words[0] !== 'both') throw fault.invalid(`Invalid ID map type "${line}"`);
    if (words[0] !== 'gid') entries.push({ Isuid: true, Isgid: false, ...entry });
    if (words[0] !== 'uid') entries.push({ Isuid: false, Isgid: true, ...entry });
  }
  return entries;
}

function range(text: string): { base: number; size: number } {
  const match = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(text);
  const base = Number(match?.[1]);
  const last = match?.[2] === undefined ? base : Number(match[2]);
  if (!match || last < base) throw fault.invalid(`Invalid ID Map range "${text}"`);
  return { base, size: last - base + 1 };
}

/** Host ids of raw.idmap take the place of the ids inside that they name. @throws Fault invalid when they are in the container's own range */
function withRaw(entries: IdmapEntry[], raw: readonly IdmapEntry[]): IdmapEntry[] {
  let result = entries;
  for (const wanted of raw) {
    const next: IdmapEntry[] = [];
    let placed = false;
    for (const entry of result) {
      if (entry.Isuid !== wanted.Isuid) {
        next.push(entry);
        continue;
      }
      if (overlaps(entry.Hostid, entry.Maprange, wanted.Hostid, wanted.Maprange)) throw fault.invalid('Host id is in the range of subids');
      if (!overlaps(entry.Nsid, entry.Maprange, wanted.Nsid, wanted.Maprange)) {
        next.push(entry);
        continue;
      }
      const before = wanted.Nsid - entry.Nsid;
      const after = entry.Nsid + entry.Maprange - (wanted.Nsid + wanted.Maprange);
      if (before > 0) next.push({ ...entry, Maprange: before });
      if (!placed) next.push(wanted);
      placed = true;
      if (after > 0) next.push({ ...entry, Hostid: entry.Hostid + entry.Maprange - after, Nsid: wanted.Nsid + wanted.Maprange, Maprange: after });
    }
    if (!placed) next.push(wanted);
    result = next;
  }
  return result;
}

const overlaps = (a: number, aSize: number, b: number, bSize: number): boolean => a < b + bSize && b < a + aSize;

/** The value of volatile.*.idmap; '[]' for a privileged container or files that are not shifted. */
export function parseIdmap(json: string | undefined): IdmapEntry[] {
  return json ? (JSON.parse(json) as IdmapEntry[]) : [];
}

/** Lines of lxc.idmap: 'u 0 1000000 65536'. */
export function lxcIdmap(entries: readonly IdmapEntry[]): string[] {
  return entries.map(({ Isuid, Hostid, Nsid, Maprange }) => `${Isuid ? 'u' : 'g'} ${Nsid} ${Hostid} ${Maprange}`);
}

/** Host uid and gid of the container's root. */
export function hostRoot(entries: readonly IdmapEntry[]): { uid: number; gid: number } {
  return { uid: toHost(entries, 'uid', 0) ?? 0, gid: toHost(entries, 'gid', 0) ?? 0 };
}

/** The host's id for an id inside; undefined when it is not mapped. */
export function toHost(entries: readonly IdmapEntry[], kind: 'uid' | 'gid', id: number): number | undefined {
  if (entries.length === 0) return id;
  const entry = entries.find((one) => one.Isuid === (kind === 'uid') && id >= one.Nsid && id < one.Nsid + one.Maprange);
  return entry && entry.Hostid + id - entry.Nsid;
}

/** The id inside for one of the host; undefined when it is not mapped. */
export function toInside(entries: readonly IdmapEntry[], kind: 'uid' | 'gid', id: number): number | undefined {
  if (entries.length === 0) return id;
  const entry = entries.find((one) => one.Isuid === (kind === 'uid') && id >= one.Hostid && id < one.Hostid + one.Maprange);
  return entry && entry.Nsid + id - entry.Hostid;
}
