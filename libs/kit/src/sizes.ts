import { fault } from './fault.js';

const factors: Record<string, number> = {
  '': 1,
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  PB: 1e15,
  EB: 1e18,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  PiB: 2 ** 50,
  EiB: 2 ** 60,
};

/**
 * '10GiB' → bytes. Suffixes as LXD's: B, kB/KB, MB … (powers of 1000), KiB, MiB … (powers of 1024), none = bytes; '' = 0.
 * @throws Fault invalid
 */
export function parseSize(text: string): number {
  const match = /^\s*(\d*)\s*([A-Za-z]*)\s*$/.exec(text);
  const factor = match ? factors[match[2]!] : undefined;
  if (!match || factor === undefined || (match[1] === '' && match[2] !== '')) throw fault.invalid(`Invalid value: ${text}`);
  const bytes = Number(match[1] || 0) * factor;
  if (!Number.isSafeInteger(bytes)) throw fault.invalid(`Value is too large: ${text}`);
  return bytes;
}

const bitFactors: Record<string, number> = {
  '': 1,
  bit: 1,
  kbit: 1e3,
  Mbit: 1e6,
  Gbit: 1e9,
  Tbit: 1e12,
  Pbit: 1e15,
  Kibit: 2 ** 10,
  Mibit: 2 ** 20,
  Gibit: 2 ** 30,
  Tibit: 2 ** 40,
};

/** '10Mbit' → bits a second. @throws Fault invalid */
export function parseBitRate(text: string): number {
  const match = /^\s*(\d+)\s*([A-Za-z]*)\s*$/.exec(text);
  const factor = match ? bitFactors[match[2]!] : undefined;
  if (!match || factor === undefined) throw fault.invalid(`Invalid value: ${text}`);
  return Number(match[1]) * factor;
}
