import type { Stats } from 'node:fs';
import type { PacketReader, PacketWriter } from './packets.js';

const has = { size: 1, owner: 2, permissions: 4, times: 8, extended: 0x8000_0000 };

/** What a client wants of a file; absent: as it is. Owners are those inside. */
export interface WantedAttributes {
  size?: number;
  owner?: { uid: number; gid: number };
  /** Without the bits of the type. */
  mode?: number;
  /** Seconds. */
  times?: { accessed: number; modified: number };
}

/** @throws BadMessage */
export function readAttributes(packet: PacketReader): WantedAttributes {
  const flags = packet.u32();
  const wanted: WantedAttributes = {};
  if (flags & has.size) wanted.size = packet.u64();
  if (flags & has.owner) wanted.owner = { uid: packet.u32(), gid: packet.u32() };
  if (flags & has.permissions) wanted.mode = packet.u32() & 0o7777;
  if (flags & has.times) wanted.times = { accessed: packet.u32(), modified: packet.u32() };
  if (flags & has.extended) for (let count = packet.u32(); count > 0; count--) void [packet.string(), packet.string()];
  return wanted;
}

export interface Owner {
  uid: number;
  gid: number;
}

export function writeAttributes(packet: PacketWriter, stats: Stats, { uid, gid }: Owner): PacketWriter {
  return packet
    .u32(has.size | has.owner | has.permissions | has.times)
    .u64(stats.size)
    .u32(uid)
    .u32(gid)
    .u32(stats.mode)
    .u32(seconds(stats.atimeMs))
    .u32(seconds(stats.mtimeMs));
}

/** The protocol's are 32 bits. */
const seconds = (ms: number): number => Math.min(Math.max(0, Math.floor(ms / 1000)), 0xffff_ffff);

const types: Record<number, string> = { 0o01: 'p', 0o02: 'c', 0o04: 'd', 0o06: 'b', 0o10: '-', 0o12: 'l', 0o14: 's' };
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A line as of `ls -l`, which is what clients show for a directory. */
export function longName(name: string, { mode, nlink, size, mtime }: Stats, { uid, gid }: Owner): string {
  const letters = [0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001].map((bit, at) => (mode & bit ? 'rwx'[at % 3] : '-'));
  const special = (bit: number, at: number, letter: string): void => {
    if (mode & bit) letters[at] = letters[at] === 'x' ? letter : letter.toUpperCase();
  };
  special(0o4000, 2, 's');
  special(0o2000, 5, 's');
  special(0o1000, 8, 't');
  const date = `${months[mtime.getUTCMonth()]} ${String(mtime.getUTCDate()).padStart(2)} ${mtime.getUTCFullYear()}`;
  const number = (value: number, width: number): string => String(value).padStart(width);
  return `${types[(mode >> 12) & 0o17] ?? '?'}${letters.join('')} ${number(nlink, 3)} ${number(uid, 8)} ${number(gid, 8)} ${number(size, 8)} ${date} ${name}`;
}
