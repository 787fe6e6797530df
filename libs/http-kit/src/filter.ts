import { setFlagsFromString } from 'node:v8';
import { fault } from '#kit';

/** Says whether an object, as the API shows it, is selected. */
export type Filter = (object: unknown) => boolean;

interface Clause {
  logical: 'and' | 'or';
  not: boolean;
  field: string;
  operator: string;
  value: string;
}

/** Time is the product of pattern and value. */
const lengthMax = 4096;

const invalid = (why: string): Error => fault.invalid(`Invalid filter: ${why}`, { status: 500 });

/**
 * The language of ?filter=: `[not] FIELD OP VALUE {and|or [not] FIELD OP VALUE}`, words apart by blanks, evaluated strictly from left to right. `ne`
 * negates, any other operator means `eq`. Strings match as case-insensitive regular expressions over the whole value (unless the pattern has ^ or $),
 * and literally where the pattern is none (or none that can be matched in linear time). Numbers and booleans are compared by their text, which LXD does not do. '' selects everything.
 * @throws Fault invalid (answered with 500, as LXD does)
 */
export function parseFilter(text: string): Filter {
  if (text.length > lengthMax) throw invalid(`longer than ${lengthMax} characters`);
  const clauses = parse(text).map((clause) => ({ clause, path: clause.field.split('.'), matches: matcher(clause.value) }));
  return (object) => {
    let selected = true;
    for (const { clause, path, matches } of clauses) {
      const value = valueOf(object, path);
      const matched = ((value !== undefined && matches(value)) !== (clause.operator === 'ne')) !== clause.not;
      selected = clause.logical === 'and' ? selected && matched : selected || matched;
    }
    return selected;
  };
}

function parse(text: string): Clause[] {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const clauses: Clause[] = [];
  let logical: Clause['logical'] = 'and';
  for (let at = 0; at < words.length;) {
    const not = words[at]!.toLowerCase() === 'not';
    if (not && ++at === words.length) throw invalid('incomplete not clause');
    const field = words[at++]!;
    const operator = words[at++];
    if (operator === undefined) throw invalid('clause has no operator');
    const first = words[at++];
    if (first === undefined) throw invalid('clause has no value');
    let value = first;
    if (first.startsWith('"')) {
      // A quoted value spans at least two words: LXD takes a single quoted one for unterminated, and clients know it so.
      const end = words.findIndex((word, index) => index >= at && word.endsWith('"'));
      if (end < 0) throw invalid('unterminated quote');
      value = [first.slice(1), ...words.slice(at, end), words[end]!.slice(0, -1)].join(' ');
      at = end + 1;
    }
    clauses.push({ logical, not, field, operator, value });
    if (at < words.length) {
      const next = words[at++];
      if (next !== 'and' && next !== 'or') throw invalid('invalid clause composition');
      if (at === words.length) throw invalid('unterminated compound clause');
      logical = next;
    }
  }
  return clauses;
}

// Patterns come from clients, and a matcher that goes back and tries again can be kept busy for years by a few characters. V8's linear engine cannot; it is
// behind a flag, and refuses what it cannot do (back references, look-around, large counts). It knows no `i`, so both sides are lower-cased.
setFlagsFromString('--enable-experimental-regexp-engine');

/** Letters in lower case, but for those behind a backslash: \D is not \d. */
const lowerCased = (pattern: string): string => pattern.replace(/\\.|[^\\]+/gs, (part) => (part.startsWith('\\') ? part : part.toLowerCase()));

function matcher(wanted: string): (value: string) => boolean {
  const pattern = lowerCased(wanted);
  let expression: RegExp;
  try {
    // oxlint-disable-next-line no-invalid-regexp -- `l` is what the flag above brings
    expression = new RegExp(/[$^]/.test(pattern) ? pattern : `^(?:${pattern})$`, 'l');
  } catch {
    return (value) => value.toLowerCase() === wanted.toLowerCase();
  }
  return (value) => expression.test(value.toLowerCase());
}

/** The value at a path as text; in a map of strings the rest of the path is the key (`config.user.x`). */
function valueOf(object: unknown, path: readonly string[]): string | undefined {
  let value: unknown = object;
  for (let at = 0; at < path.length; at++) {
    if (value === null || typeof value !== 'object') return undefined;
    const fields = value as Record<string, unknown>;
    const rest = path.slice(at).join('.');
    if (Object.hasOwn(fields, rest)) {
      value = fields[rest];
      break;
    }
    const word = path[at]!;
    if (!Object.hasOwn(fields, word)) return at > 0 && isStringMap(fields) ? '' : undefined;
    value = fields[word];
  }
  return value === null || value === undefined || typeof value === 'object' ? undefined : String(value);
}

/** A missing key of a map of strings reads as '', as in Go. */
const isStringMap = (fields: Record<string, unknown>): boolean => Object.values(fields).every((value) => typeof value === 'string');
