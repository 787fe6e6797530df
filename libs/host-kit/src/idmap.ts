import { fault } from '#kit';

/**
 * Which ids of a container are which ids of the host. In memory and in the volatile.* keys an idmap is a list of ranges, each for uids, gids or both;
 * where two ranges of a list hold an id, the first counts.
 */
export interface IdRange {
  isUid: boolean;
  isGid: boolean;
  hostId: number;
  /** In the container. */
  nsId: number;
  /** How many ids. */
  range: number;
}
export type Idmap = readonly IdRange[];

/** As LXD keeps it in volatile.idmap.next and .current and in volatile.last_state.idmap. */
export function idmapToJson(idmap: Idmap): string {
  return JSON.stringify(
    idmap.map(({ isUid, isGid, hostId, nsId, range }) => ({ Isuid: isUid, Isgid: isGid, Hostid: hostId, Nsid: nsId, Maprange: range })),
  );
}

/** '' is the empty map. @throws Fault invalid */
export function idmapFromJson(text: string): IdRange[] {
  if (text === '') return [];
  try {
    const list = JSON.parse(text) as { Isuid: boolean; Isgid: boolean; Hostid: number; Nsid: number; Maprange: number }[] | null;
    return (list ?? []).map((entry) => {
      const ranges = [entry.Hostid, entry.Nsid, entry.Maprange];
      if (!ranges.every((n) => Number.isSafeInteger(n) && n >= 0)) throw new TypeError('not a whole number');
      return { isUid: entry.Isuid === true, isGid: entry.Isgid === true, hostId: entry.Hostid, nsId: entry.Nsid, range: entry.Maprange };
    });
  } catch (error) {
    throw fault.invalid('Invalid idmap', { detail: text, cause: error });
  }
}

/** The ordinary map of a container: `range` ids from `base` on, uids and gids alike. */
export const baseIdmap = (base: number, range: number): IdRange[] => [
  { isUid: true, isGid: false, hostId: base, nsId: 0, range },
  { isUid: false, isGid: true, hostId: base, nsId: 0, range },
];

/** Do two maps say the same? Order, repetition, and uid and gid in one entry or two do not matter. */
export const sameIdmap = (one: Idmap, other: Idmap): boolean => canonical(one) === canonical(other);

const canonical = (idmap: Idmap): string => idmapLines(idmap).toSorted().join('\n');

/** Lines of LXC's configuration: `lxc.idmap = u 0 1000000 65536`. */
export const idmapLines = (idmap: Idmap): string[] => [
  ...new Set(
    idmap.flatMap((e) => [...(e.isUid ? [`u ${e.nsId} ${e.hostId} ${e.range}`] : []), ...(e.isGid ? [`g ${e.nsId} ${e.hostId} ${e.range}`] : [])]),
  ),
];

/** An id of the container on the host; undefined if the map does not hold it. */
export function toHost(idmap: Idmap, kind: 'uid' | 'gid', id: number): number | undefined {
  const found = idmap.find((e) => (kind === 'uid' ? e.isUid : e.isGid) && id >= e.nsId && id < e.nsId + e.range);
  return found && id - found.nsId + found.hostId;
}

/** An id of the host in the container; undefined if the map does not hold it. */
export function fromHost(idmap: Idmap, kind: 'uid' | 'gid', id: number): number | undefined {
  const found = idmap.find((e) => (kind === 'uid' ? e.isUid : e.isGid) && id >= e.hostId && id < e.hostId + e.range);
  return found && id - found.hostId + found.nsId;
}

/**
 * The value of raw.idmap: lines "uid|gid|both HOST[-HOST] CONTAINER[-CONTAINER]".
 * @throws Fault invalid, with LXD's sentences
 */
export function parseRawIdmap(value: string): IdRange[] {
  let idmap: IdRange[] = [];
  for (const line of value.split('\n')) {
    if (line === '') continue;
    const words = line.split(' ');
    if (words.length !== 3) throw fault.invalid(`Invalid ID map line "${line}"`);
    const host = parseRange(words[1]!);
    const inside = parseRange(words[2]!);
    if (host.size !== inside.size) throw fault.invalid(`The ID map ranges are of different sizes "${line}"`);
    const kind = words[0]!;
    if (!['both', 'uid', 'gid'].includes(kind)) throw fault.invalid(`Invalid ID map type "${line}"`);
    idmap = addRange(idmap, { isUid: kind !== 'gid', isGid: kind !== 'uid', hostId: host.base, nsId: inside.base, range: inside.size });
  }
  return idmap;
}

function parseRange(text: string): { base: number; size: number } {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  const base = Number(match?.[1]);
  const last = match?.[2] === undefined ? base : Number(match[2]);
  if (!match || last < base || last > 0xffff_fffe) throw fault.invalid(`Invalid ID map range "${text}"`);
  return { base, size: last - base + 1 };
}

/**
 * A map with one more range, which takes its ids out of the ranges that had them.
 * @throws Fault invalid: its host ids are in use by the range that it would split
 */
export function addRange(idmap: Idmap, added: IdRange): IdRange[] {
  const result: IdRange[] = [];
  let placed = false;
  for (const entry of idmap) {
    if (
      !sharesKind(entry, added) ||
      (!overlap(entry.nsId, entry.range, added.nsId, added.range) && !overlap(entry.hostId, entry.range, added.hostId, added.range))
    ) {
      result.push(entry);
      continue;
    }
    if (overlap(entry.hostId, entry.range, added.hostId, added.range)) throw fault.invalid('Host id is in the range of subids');
    // A range for both kinds that meets one for a single kind keeps the other kind whole.
    if (entry.isUid && entry.isGid && added.isUid !== added.isGid) result.push({ ...entry, isUid: !added.isUid, isGid: !added.isGid });
    const kinds = { isUid: entry.isUid && added.isUid, isGid: entry.isGid && added.isGid };
    const before = Math.max(0, added.nsId - entry.nsId);
    const after = Math.max(0, entry.nsId + entry.range - (added.nsId + added.range));
    if (before > 0) result.push({ ...entry, ...kinds, range: before });
    if (!placed) result.push(added);
    placed = true;
    if (after > 0)
      result.push({ ...entry, ...kinds, nsId: entry.nsId + entry.range - after, hostId: entry.hostId + entry.range - after, range: after });
  }
  if (!placed) result.push(added);
  return result;
}

const sharesKind = (one: IdRange, other: IdRange): boolean => (one.isUid && other.isUid) || (one.isGid && other.isGid);
const overlap = (start: number, size: number, otherStart: number, otherSize: number): boolean =>
  start < otherStart + otherSize && otherStart < start + size;

/** Ids of the host that containers may have. */
export interface HostIds {
  base: number;
  size: number;
}

export interface WantedIdmap {
  /** security.idmap.isolated */
  isolated: boolean;
  /** security.idmap.size; default 65,536 if isolated, else all there is. */
  size?: number;
  /** security.idmap.base or volatile.idmap.base; default: the first hole. */
  base?: number;
  /** raw.idmap */
  raw?: string;
  /** Ranges of the other isolated containers. */
  others: readonly HostIds[];
}

/**
 * The map that a container gets, and its volatile.idmap.base (0 if it is not isolated). Isolated ranges begin one ordinary range above the first id,
 * which the containers that are not isolated use most.
 * @throws Fault invalid: raw.idmap; unavailable: no hole is large enough
 */
export function chooseIdmap(host: HostIds, wanted: WantedIdmap): { idmap: IdRange[]; base: number } {
  const base = wanted.isolated ? (wanted.base ?? firstHole(host, wanted.size ?? 65_536, wanted.others)) : 0;
  let idmap = wanted.isolated ? baseIdmap(base, wanted.size ?? 65_536) : baseIdmap(host.base, host.size);
  for (const entry of parseRawIdmap(wanted.raw ?? '')) idmap = addRange(idmap, entry);
  return { idmap, base };
}

function firstHole(host: HostIds, size: number, others: readonly HostIds[]): number {
  let offset = host.base + 65_536;
  for (const other of others.toSorted((one, two) => one.base - two.base)) {
    if (offset + size <= other.base) break;
    offset = Math.max(offset, other.base + other.size);
  }
  if (offset + size > host.base + host.size) throw fault.unavailable('Not enough uid/gid available for the container');
  return offset;
}
