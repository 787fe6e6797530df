import { isTrue } from '#config-keys';
import { Fault, fault } from '#kit';
import { serverKeys } from './keys.js';

export type Config = Record<string, string>;
/** As the API shows it: a secret that is set reads `true`. */
export type ShownConfig = Record<string, string | true>;
/** What is asked for, key by key: '' unsets, `true` leaves a secret as it is. */
export type Changes = Record<string, string | true>;

/** Changes by where they are kept. */
export interface SplitChanges {
  global: Changes;
  member: Changes;
}

/** `config` of a PUT or PATCH, checked. @throws Fault invalid, with LXD's words */
export function parseChanges(config: unknown): SplitChanges {
  if (config === null || typeof config !== 'object' || Array.isArray(config)) throw fault.invalid('Invalid request body: config must be an object');
  const changes: SplitChanges = { global: {}, member: {} };
  const wrong: string[] = [];
  for (const [name, given] of Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const definition = serverKeys.find(name);
    const kept = definition?.secret && given === true;
    const value: unknown = given ?? '';
    if (!kept && typeof value !== 'string') {
      wrong.push(`cannot set '${name}': invalid type ${goType(value)}`);
      continue;
    }
    const why = kept ? undefined : refusal(name, value as string);
    if (why) wrong.push(`cannot set '${name}' to '${definition?.secret ? '<hidden>' : (value as string)}': ${why}`);
    else changes[definition?.scope === 'member' ? 'member' : 'global'][name] = value as string | true;
  }
  if (wrong.length > 0) throw fault.invalid(wrong.length === 1 ? wrong[0]! : `${wrong[0]} (and ${wrong.length - 1} more errors)`);
  return changes;
}

function refusal(name: string, value: string): string | undefined {
  const definition = serverKeys.find(name);
  if (!definition) return 'unknown key';
  if (value === '') return undefined;
  try {
    serverKeys.validate({ [name]: value });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    if (definition.type === 'bool') return 'invalid boolean';
    return definition.type === 'integer' && !/^-?\d+$/.test(value) ? 'invalid integer' : error.message;
  }
  return undefined;
}

const goType = (value: unknown): string =>
  typeof value === 'number' ? 'float64' : typeof value === 'boolean' ? 'bool' : Array.isArray(value) ? 'slice' : 'map';

/** A value as it is kept: booleans in one spelling; undefined for "as the default". */
function kept(name: string, value: string): string | undefined {
  const definition = serverKeys.find(name);
  const normal = definition?.type === 'bool' && value !== '' ? String(isTrue(value)) : value;
  return normal === '' || normal === definition?.default ? undefined : normal;
}

/** The configuration after the changes; with `replace` what they do not name is unset. */
export function applyChanges(current: Config, changes: Changes, replace: boolean): Config {
  const next: Config = replace ? {} : { ...current };
  for (const [name, value] of Object.entries(changes)) {
    const wanted = value === true ? current[name] : kept(name, value);
    if (wanted === undefined) delete next[name];
    else next[name] = wanted;
  }
  return next;
}

/** Sorted by key, secrets hidden. */
export function shown(...parts: Config[]): ShownConfig {
  const all = Object.entries(Object.assign({}, ...parts) as Config).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(all.map(([name, value]) => [name, serverKeys.find(name)?.secret ? true : value]));
}
