import { fault } from '#kit';

const unitsMs: Record<string, number> = { S: 1_000, M: 60_000, H: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 };

/** `1H 30M`, `2d`, `1m` (month), `1y`: the time that long after `from`. @throws Fault invalid */
export function parseExpiry(text: string, from: Date): Date {
  const end = new Date(from);
  for (const word of text.trim().split(/\s+/)) {
    const match = /^(\d{1,6})([SMHdwmy])$/.exec(word);
    if (!match) throw fault.invalid('Invalid expiry expression');
    const [count, unit] = [Number(match[1]), match[2]!];
    if (unit === 'm') end.setUTCMonth(end.getUTCMonth() + count);
    else if (unit === 'y') end.setUTCFullYear(end.getUTCFullYear() + count);
    else end.setTime(end.getTime() + count * unitsMs[unit]!);
  }
  if (Number.isNaN(end.getTime())) throw fault.invalid('Invalid expiry expression');
  return end;
}
