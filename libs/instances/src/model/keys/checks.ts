import { Cron } from 'croner';
import { parse as parseYaml } from 'yaml';
import { fault, parseSize } from '#kit';

/** Checks of single values; the words are those that LXD's clients see. All throw Fault invalid. */
export type Check = (value: string) => void;

const integer = (text: string): number => {
  if (!/^[+-]?\d{1,18}$/.test(text)) throw fault.invalid(`Invalid value for an integer "${text}"`);
  return Number(text);
};

export const priority: Check = (value) => {
  const number = integer(value);
  if (number < 0 || number > 10) throw fault.invalid(`Invalid value for a limit "${value}". Must be between 0 and 10`);
};

export const uint32: Check = (value) => {
  if (!/^\d{1,10}$/.test(value) || Number(value) > 0xffff_ffff) throw fault.invalid(`Invalid value for uint32 "${value}"`);
};

export const uuid: Check = (value) => {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) throw fault.invalid(`Invalid UUID`);
};

export const cpuSet: Check = (value) => {
  if (!/^([0-9]+([,-][0-9]+)?)(,[0-9]+([,-][0-9]+)*)?$/.test(value)) throw fault.invalid('Invalid CPU limit syntax');
  const seen = new Set<number>();
  for (const chunk of value.split(',')) {
    const [low, high] = chunk.split('-').map(Number);
    if (high !== undefined && high - low! > 65536) throw fault.invalid(`Invalid cpuset value: ${value}`);
    for (let cpu = low!; cpu <= (high ?? low!); cpu++) {
      if (seen.has(cpu)) throw fault.invalid('Cannot define CPU multiple times');
      seen.add(cpu);
    }
  }
};

/** '80%' or a size; zero is refused. */
export const memoryLimit: Check = (value) => {
  if (value.endsWith('%')) {
    if (integer(value.slice(0, -1)) === 0) throw fault.invalid("Memory limit can't be 0%");
    return;
  }
  if (parseSize(value) === 0) throw fault.invalid("Memory limit can't be 0");
};

/** '50%' of all CPUs as a share, or '25ms/100ms' as a hard limit. */
export const cpuAllowance: Check = (value) => {
  if (value.endsWith('%')) return void integer(value.slice(0, -1));
  const fields = value.split('/');
  if (fields.length !== 2) throw fault.invalid(`Invalid allowance: ${value}`);
  for (const field of fields) integer(field.replace(/ms$/, ''));
};

export const yaml: Check = (value) => {
  try {
    parseYaml(value);
  } catch (error) {
    throw fault.invalid(`Invalid YAML: ${(error as Error).message.split('\n')[0]}`);
  }
};

/** cloud-init takes many formats; only one that says it is #cloud-config must be YAML. */
export const cloudInitData: Check = (value) => {
  if (value.startsWith('#cloud-config\n')) yaml(value.slice('#cloud-config\n'.length));
};

const aliases = new Set(['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@annually', '@yearly', '@startup', '@never']);

/** One or more (apart by comma and blank) cron expressions of five words, or aliases. */
export const schedule: Check = (value) => {
  for (const trigger of value.toLowerCase().split(', ')) {
    if (aliases.has(trigger)) continue;
    if (trigger.split(' ').length !== 5) {
      throw fault.invalid('Schedule must be of the form: <minute> <hour> <day-of-month> <month> <day-of-week>');
    }
    try {
      new Cron(trigger, { paused: true }).stop();
    } catch (error) {
      throw fault.invalid(`Error parsing schedule: ${(error as Error).message}`);
    }
  }
};

export const expiry: Check = (value) => void addExpiry(new Date(0), value);

/**
 * '30S 1M 2H 3d 4w 5m 6y' (seconds, minutes, hours, days, weeks, months, years; each at most once) after `start`; undefined for ''.
 * @throws Fault invalid
 */
export function addExpiry(start: Date, expression: string): Date | undefined {
  const text = expression.trim();
  if (text === '') return undefined;
  const amounts: Record<string, number> = {};
  for (const word of text.split(/\s+/)) {
    const match = /^(\d+)(S|M|H|d|w|m|y)$/.exec(word);
    if (!match || amounts[match[2]!] !== undefined) throw fault.invalid('Invalid expiry expression');
    amounts[match[2]!] = Number(match[1]);
  }
  const end = new Date(start);
  end.setUTCFullYear(
    end.getUTCFullYear() + (amounts.y ?? 0),
    end.getUTCMonth() + (amounts.m ?? 0),
    end.getUTCDate() + (amounts.w ?? 0) * 7 + (amounts.d ?? 0),
  );
  end.setTime(end.getTime() + (amounts.H ?? 0) * 3_600_000 + (amounts.M ?? 0) * 60_000 + (amounts.S ?? 0) * 1000);
  return end;
}
