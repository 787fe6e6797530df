import { fault } from '#kit';
import { checkVolumeName } from './names.js';

const creationDate = /\{\{\s*creation_date\s*(?:\|\s*date:\s*(?:'([^']*)'|"([^"]*)")\s*)?\}\}/g;

/** Parts of Go's reference time, longest first. */
const layout = /2006|01|02|15|04|05|Jan|06/g;
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * The name that a volume's `snapshots.pattern` gives to a snapshot taken now: `%d` is one more than the highest number there is, `{{ creation_date|date:'2006-01-02' }}` the time in
 * Go's layout. A name that is taken gets `-%d` behind it, as LXD does. @throws Fault invalid
 */
export function snapshotName(pattern: string, now: Date, taken: readonly string[]): string {
  const dated = (pattern || 'snap%d').replace(creationDate, (_, single?: string, double?: string) =>
    formatTime(now, single ?? double ?? '2006-01-02T15:04:05Z'),
  );
  if (dated.includes('{{') || dated.includes('{%')) throw fault.invalid(`Invalid snapshot pattern "${pattern}"`);
  if (dated.split('%d').length > 2) throw fault.invalid("Snapshot pattern may contain '%d' only once");
  const numbered = dated.includes('%d') ? dated : taken.includes(dated) ? `${dated}-%d` : undefined;
  const name = numbered === undefined ? dated : nextNumbered(numbered, taken);
  checkVolumeName(name);
  return name;
}

function nextNumbered(pattern: string, taken: readonly string[]): string {
  const [before, after] = pattern.split('%d') as [string, string];
  const numbers = taken
    .filter((name) => name.startsWith(before) && name.endsWith(after) && name.length > before.length + after.length)
    .map((name) => name.slice(before.length, name.length - after.length))
    .filter((text) => /^\d{1,9}$/.test(text))
    .map(Number);
  return `${before}${Math.max(-1, ...numbers) + 1}${after}`;
}

function formatTime(time: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const parts: Record<string, string> = {
    '2006': String(time.getUTCFullYear()),
    '06': two(time.getUTCFullYear() % 100),
    '01': two(time.getUTCMonth() + 1),
    '02': two(time.getUTCDate()),
    '15': two(time.getUTCHours()),
    '04': two(time.getUTCMinutes()),
    '05': two(time.getUTCSeconds()),
    Jan: months[time.getUTCMonth()]!,
  };
  return format.replace(layout, (part) => parts[part]!);
}
