import { Cron } from 'croner';

/** `m`: a minute, `h`: an hour that is always the same for one thing, so that not everything happens at once. */
const aliases: Record<string, string> = {
  '@hourly': 'm * * * *',
  '@daily': 'm h * * *',
  '@midnight': 'm 0 * * *',
  '@weekly': 'm h * * 0',
  '@monthly': 'm h 1 * *',
  '@annually': 'm h 1 1 *',
  '@yearly': 'm h 1 1 *',
};

const parsed = new Map<string, Cron | undefined>();
const parsedMax = 1_000;

/**
 * Whether a `snapshots.schedule` (cron of five fields, an alias, or several of them apart by `, `) names this minute for the thing with this id.
 * `@never` and `@startup` name none; what is no schedule names none either, since config validation refuses it before.
 */
export function isScheduled(schedule: string, id: number, minute: Date): boolean {
  // A comma with a blank parts schedules, one without is cron's own.
  return schedule.split(/,\s+/).some((spec) => cronOf(concrete(spec.trim(), id))?.match(minute) ?? false);
}

function concrete(spec: string, id: number): string {
  const alias = aliases[spec.toLowerCase()];
  if (!alias) return spec;
  // Knuth's multiplicative hash: neighbours by id are far apart.
  const spread = Math.imul(id, 0x9e3779b1) >>> 0;
  return alias.replace('m', String(spread % 60)).replace('h', String(Math.floor(spread / 60) % 24));
}

function cronOf(pattern: string): Cron | undefined {
  if (parsed.has(pattern)) return parsed.get(pattern);
  let cron: Cron | undefined;
  try {
    cron = pattern.startsWith('@') || pattern === '' ? undefined : new Cron(pattern, { mode: '5-part', paused: true });
  } catch {
    cron = undefined;
  }
  if (parsed.size >= parsedMax) parsed.delete(parsed.keys().next().value!);
  parsed.set(pattern, cron);
  return cron;
}
