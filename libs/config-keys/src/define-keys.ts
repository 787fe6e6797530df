import { fault } from '#kit';

/** How a value is written. Everything is a string on the wire; '' unsets. */
export type KeyType = 'string' | 'bool' | 'integer' | 'size' | 'time' | 'set';

export interface KeyDefinition {
  type: KeyType;
  /** 'member': each cluster member has its own value. */
  scope?: 'global' | 'member';
  /** Name of the API extension that brought it; 'core' for LXD 1.0's own. A test checks that the extension is declared. */
  since: string;
  /** What happens when it changes while the thing is in use. */
  whileInUse?: 'refused' | 'next-start' | 'at-once';
  /** Shown when unset, in documentation and in effective values. */
  default?: string;
  /** Allowed values of a 'set'. */
  values?: readonly string[];
  /** Stored sealed, shown as hidden (true/false where LXD does so). */
  secret?: boolean;
  /** Not settable by a client over the API (volatile.* are, some are not). */
  readOnly?: boolean;
  /** Throws a Fault invalid when the value, already of the right type and not '', cannot be. */
  check?: (value: string, key: string) => void;
  doc: { short: string; long?: string };
}

export type KeyDefinitions = Record<string, KeyDefinition>;

/**
 * Keys of one kind of object, declared once. A name may be a pattern: `*` stands for one word without dots, `**` for any words, a trailing `.*` for anything
 * (`user.*`, `volatile.*.hwaddr`, `limits.kernel.*`).
 */
export class Keys {
  readonly #exact = new Map<string, KeyDefinition>();
  readonly #patterns: { expression: RegExp; definition: KeyDefinition }[] = [];

  constructor(
    /** `instance`, `storage-dir` … in error texts and documentation. */
    readonly entity: string,
    readonly definitions: KeyDefinitions,
  ) {
    for (const [name, definition] of Object.entries(definitions)) {
      if (!name.includes('*')) this.#exact.set(name, definition);
      else this.#patterns.push({ expression: patternOf(name), definition });
    }
  }

  find(key: string): KeyDefinition | undefined {
    return this.#exact.get(key) ?? this.#patterns.find(({ expression }) => expression.test(key))?.definition;
  }

  /** Refuses unknown keys and bad values; values come back as they are. @throws Fault invalid, with LXD's words */
  validate(config: Record<string, string>): void {
    for (const [key, value] of Object.entries(config)) {
      const definition = this.find(key);
      if (!definition) throw fault.invalid(`Unknown configuration key: ${key}`);
      checkValue(key, value, definition);
    }
  }

  /** The value in force: the one set, or the default, or ''. */
  effective(config: Record<string, string>, key: string): string {
    const value = config[key];
    return value !== undefined && value !== '' ? value : (this.find(key)?.default ?? '');
  }

  /** Keys whose value differs between two configs, with what the change needs. */
  changes(
    before: Record<string, string>,
    after: Record<string, string>,
  ): { key: string; before: string; after: string; definition?: KeyDefinition }[] {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys]
      .filter((key) => (before[key] ?? '') !== (after[key] ?? ''))
      .sort()
      .map((key) => ({ key, before: before[key] ?? '', after: after[key] ?? '', definition: this.find(key) }));
  }
}

/** Declares the keys of one kind of object. */
export function defineKeys(entity: string, ...parts: KeyDefinitions[]): Keys {
  return new Keys(entity, Object.assign({}, ...parts) as KeyDefinitions);
}

function patternOf(name: string): RegExp {
  const words = name.split('.');
  const tail = words.at(-1) === '*';
  const source = (tail ? words.slice(0, -1) : words)
    .map((word) => (word === '**' ? '.+' : word.split('*').map(escapeRegExp).join('[^.]+')))
    .join('\\.');
  return new RegExp(`^${source}${tail ? '\\..+' : ''}$`);
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const booleans = new Map([
  ...['true', '1', 'yes', 'on'].map((word) => [word, true] as const),
  ...['false', '0', 'no', 'off'].map((word) => [word, false] as const),
]);

/** LXD's booleans: true/1/yes/on and their opposites, in any case. Undefined and '' are the fallback. */
export function isTrue(value: string | undefined, fallback = false): boolean {
  return booleans.get((value ?? '').toLowerCase()) ?? fallback;
}

/** A config as it is kept: '' unsets. */
export function withoutUnset(config: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== ''));
}

/** The same for devices: their keys are unset so, they themselves stay. */
export function devicesWithoutUnset(devices: Record<string, Record<string, string>>): Record<string, Record<string, string>> {
  return Object.fromEntries(Object.entries(devices).map(([name, device]) => [name, withoutUnset(device)]));
}

function checkValue(key: string, value: string, definition: KeyDefinition): void {
  if (value === '') return;
  switch (definition.type) {
    case 'bool':
      if (!booleans.has(value.toLowerCase())) throw fault.invalid(`Invalid value for a boolean "${value}"`);
      break;
    case 'integer':
      if (!/^-?\d{1,18}$/.test(value)) throw fault.invalid(`Invalid value for an integer "${value}"`);
      break;
    case 'size':
      if (!/^\d+ ?(B|[kKMGTPE]B|[KMGTPE]iB)?$/.test(value)) throw fault.invalid(`Invalid value for a size "${value}"`);
      break;
    case 'set':
      if (!definition.values?.includes(value))
        throw fault.invalid(`Invalid value "${value}" for key "${key}" (not one of ${definition.values?.join(', ')})`);
      break;
    case 'string':
    case 'time':
      break;
  }
  definition.check?.(value, key);
}
