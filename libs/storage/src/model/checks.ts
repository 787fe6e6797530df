import { fault } from '#kit';

const expiryUnits = 'SMHdwmy';

/**
 * When something made `at` ends, by LXD's expression: '1M 3d' (units S seconds, M minutes, H hours, d, w, m months, y), each at most once.
 * Undefined for '' or no time: never. @throws Fault invalid
 */
export function expiryOf(expression: string, at: Date): Date | undefined {
  const words = expression.trim() === '' ? [] : expression.trim().split(/\s+/);
  const amounts: Record<string, number> = {};
  for (const word of words) {
    const match = /^(\d{1,9})([SMHdwmy])$/.exec(word);
    if (!match || match[2]! in amounts) throw fault.invalid(`Invalid expiry expression "${expression}" (units: ${[...expiryUnits].join(', ')})`);
    amounts[match[2]!] = Number(match[1]);
  }
  if (words.length === 0) return undefined;
  const end = new Date(at);
  end.setUTCFullYear(end.getUTCFullYear() + (amounts['y'] ?? 0), end.getUTCMonth() + (amounts['m'] ?? 0));
  end.setUTCDate(end.getUTCDate() + (amounts['d'] ?? 0) + 7 * (amounts['w'] ?? 0));
  const seconds = (amounts['H'] ?? 0) * 3600 + (amounts['M'] ?? 0) * 60 + (amounts['S'] ?? 0);
  const result = new Date(end.getTime() + seconds * 1000);
  if (Number.isNaN(result.getTime())) throw fault.invalid(`Invalid expiry expression "${expression}"`);
  return result;
}

export const checkExpiry = (value: string): void => void expiryOf(value, new Date(0));

const scheduleAliases = ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@annually', '@yearly', '@startup', '@never'];
const cronField = /^(\*|\d+(-\d+)?)(\/\d+)?(,(\*|\d+(-\d+)?)(\/\d+)?)*$/;

/** A comma list of aliases, or five cron fields. @throws Fault invalid */
export function checkSchedule(value: string): void {
  const words = value.trim().split(/\s+/);
  const aliases = value.split(',').map((word) => word.trim());
  if (aliases.every((alias) => scheduleAliases.includes(alias))) return;
  if (words.length !== 5 || !words.every((word) => cronField.test(word) || /^[a-zA-Z]{3}(-[a-zA-Z]{3})?$/.test(word)))
    throw fault.invalid(`Schedule must be of the form: <minute> <hour> <day-of-month> <month> <day-of-week>`);
}
