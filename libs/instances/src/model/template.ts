import { fault } from '#kit';

/** What a template sees: strings, numbers, booleans, maps of them, functions of them. */
export type TemplateValue =
  | string
  | number
  | boolean
  | undefined
  | Date
  | readonly TemplateValue[]
  | { readonly [key: string]: TemplateValue }
  | ((...args: TemplateValue[]) => TemplateValue);
export type TemplateScope = Readonly<Record<string, TemplateValue>>;

/**
 * The part of pongo2 (Django's language) that image templates and snapshot patterns use: `{{ expression|filter:argument }}`, if/elif/else, for over maps and
 * lists, comments; in expressions names with dots, calls, strings, numbers, ==, !=, and, or, not. Nothing is escaped, and nothing is read from any disk.
 * @throws Fault invalid for what it does not know
 */
export function renderTemplate(text: string, scope: TemplateScope): string {
  const tokens = text.split(/(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})/s).map(toToken);
  const reader = { tokens, at: 0 };
  const nodes = parseUntil(reader, []);
  const out = render(nodes, scope, { left: outputMax });
  return out;
}

const outputMax = 4 * 1024 * 1024;
const loopsMax = 100_000;

interface Token {
  kind: 'text' | 'print' | 'tag' | 'nothing';
  text: string;
}
type Node =
  | { kind: 'text'; text: string }
  | { kind: 'print'; expression: string }
  | { kind: 'if'; branches: { condition: string | undefined; body: Node[] }[] }
  | { kind: 'for'; names: string[]; over: string; body: Node[] };

function toToken(text: string): Token {
  if (text.startsWith('{{')) return { kind: 'print', text: text.slice(2, -2).replace(/^-|-$/g, '').trim() };
  if (text.startsWith('{%')) return { kind: 'tag', text: text.slice(2, -2).replace(/^-|-$/g, '').trim() };
  if (text.startsWith('{#')) return { kind: 'nothing', text: '' };
  return { kind: 'text', text };
}

interface TokenReader {
  tokens: Token[];
  at: number;
}

/** Up to, and not past, a tag whose first word is one of `ends`. */
function parseUntil(reader: TokenReader, ends: readonly string[]): Node[] {
  const nodes: Node[] = [];
  for (; reader.at < reader.tokens.length;) {
    const token = reader.tokens[reader.at]!;
    if (token.kind === 'tag' && ends.includes(firstWord(token.text))) return nodes;
    reader.at++;
    if (token.kind === 'text' && token.text !== '') nodes.push({ kind: 'text', text: token.text });
    else if (token.kind === 'print') nodes.push({ kind: 'print', expression: token.text });
    else if (token.kind === 'tag') nodes.push(parseTag(reader, token.text));
  }
  if (ends.length > 0) throw fault.invalid(`Template: no ${ends.at(-1)}`);
  return nodes;
}

const firstWord = (text: string): string => text.split(/\s+/)[0]!;

function parseTag(reader: TokenReader, text: string): Node {
  const word = firstWord(text);
  if (word === 'if') {
    const branches: { condition: string | undefined; body: Node[] }[] = [];
    for (let condition: string | undefined = text.slice(2); ;) {
      branches.push({ condition, body: parseUntil(reader, ['elif', 'else', 'endif']) });
      const tag = reader.tokens[reader.at++]!.text;
      if (firstWord(tag) === 'endif') return { kind: 'if', branches };
      condition = firstWord(tag) === 'elif' ? tag.slice(4) : undefined;
    }
  }
  if (word === 'for') {
    const match = /^for\s+(\w+)(?:\s*,\s*(\w+))?\s+in\s+(.+?)(?:\s+sorted)?$/.exec(text);
    if (!match) throw fault.invalid(`Template: cannot read "${text}"`);
    const body = parseUntil(reader, ['endfor']);
    reader.at++;
    return { kind: 'for', names: [match[1]!, match[2]].filter((name): name is string => name !== undefined), over: match[3]!, body };
  }
  if (word === 'autoescape' || word === 'endautoescape') return { kind: 'text', text: '' };
  throw fault.invalid(`Template: unknown tag "${word}"`);
}

interface Budget {
  left: number;
  loops?: number;
}

function render(nodes: readonly Node[], scope: TemplateScope, budget: Budget): string {
  let out = '';
  for (const node of nodes) {
    if (node.kind === 'text') out += node.text;
    else if (node.kind === 'print') out += show(evaluate(node.expression, scope));
    else if (node.kind === 'if') {
      const branch = node.branches.find(({ condition }) => condition === undefined || truth(evaluate(condition, scope)));
      if (branch) out += render(branch.body, scope, budget);
    } else out += renderFor(node, scope, budget);
    if (out.length > budget.left) throw fault.tooLarge('The output of a template is too large');
  }
  return out;
}

function renderFor(node: Node & { kind: 'for' }, scope: TemplateScope, budget: Budget): string {
  const over = evaluate(node.over, scope);
  const pairs: [TemplateValue, TemplateValue][] = Array.isArray(over)
    ? over.map((value: TemplateValue, index): [TemplateValue, TemplateValue] => (node.names.length === 1 ? [value, undefined] : [index, value]))
    : over !== null && typeof over === 'object' && !(over instanceof Date)
      ? Object.entries(over as Record<string, TemplateValue>).sort(([a], [b]) => (a < b ? -1 : 1))
      : [];
  let out = '';
  for (const [first, second] of pairs) {
    budget.loops = (budget.loops ?? 0) + 1;
    if (budget.loops > loopsMax) throw fault.tooLarge('A template loops too often');
    out += render(node.body, { ...scope, [node.names[0]!]: first, ...(node.names[1] ? { [node.names[1]]: second } : {}) }, budget);
  }
  return out;
}

const show = (value: TemplateValue): string =>
  value === undefined || typeof value === 'function'
    ? ''
    : value instanceof Date
      ? value.toISOString()
      : typeof value === 'boolean'
        ? value
          ? 'True'
          : 'False'
        : typeof value === 'object'
          ? JSON.stringify(value)
          : String(value);

const truth = (value: TemplateValue): boolean =>
  Array.isArray(value)
    ? value.length > 0
    : value !== undefined &&
      value !== '' &&
      value !== 0 &&
      value !== false &&
      !(typeof value === 'object' && !(value instanceof Date) && Object.keys(value).length === 0);

const lexer = /\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\d+|[A-Za-z_]\w*|==|!=|<>|&&|\|\||[()[\].,|:!])/y;

/** Recursive descent over one expression. */
function evaluate(text: string, scope: TemplateScope): TemplateValue {
  const words: string[] = [];
  lexer.lastIndex = 0;
  for (let end = 0; text.slice(end).trim() !== '';) {
    lexer.lastIndex = end;
    const match = lexer.exec(text);
    if (!match) throw fault.invalid(`Template: cannot read "${text}"`);
    words.push(match[1]!);
    end = lexer.lastIndex;
  }
  const parser = new Expression(words, scope, text);
  return parser.whole();
}

class Expression {
  #at = 0;

  constructor(
    private readonly words: readonly string[],
    private readonly scope: TemplateScope,
    private readonly text: string,
  ) {}

  whole(): TemplateValue {
    const value = this.#or();
    if (this.#at < this.words.length) throw this.#wrong();
    return value;
  }

  #or(): TemplateValue {
    let value = this.#and();
    while (this.#take('or', '||')) {
      const other = this.#and();
      value = truth(value) || truth(other);
    }
    return value;
  }

  #and(): TemplateValue {
    let value = this.#comparison();
    while (this.#take('and', '&&')) {
      const other = this.#comparison();
      value = truth(value) && truth(other);
    }
    return value;
  }

  #comparison(): TemplateValue {
    const left = this.#unary();
    if (this.#take('==')) return show(left) === show(this.#unary());
    if (this.#take('!=', '<>')) return show(left) !== show(this.#unary());
    return left;
  }

  #unary(): TemplateValue {
    if (this.#take('not', '!')) return !truth(this.#unary());
    let value = this.#postfix(this.#primary());
    while (this.#take('|')) value = this.#filter(value);
    return value;
  }

  #primary(): TemplateValue {
    const word = this.words[this.#at++];
    if (word === undefined) throw this.#wrong();
    if (word === '(') {
      const value = this.#or();
      if (!this.#take(')')) throw this.#wrong();
      return value;
    }
    if (/^["']/.test(word)) return word.slice(1, -1).replace(/\\(.)/g, (_, character: string) => ({ n: '\n', t: '\t' })[character] ?? character);
    if (/^\d/.test(word)) return Number(word);
    if (word === 'true' || word === 'True') return true;
    if (word === 'false' || word === 'False') return false;
    if (!/^[A-Za-z_]/.test(word)) throw this.#wrong();
    return Object.hasOwn(this.scope, word) ? this.scope[word] : undefined;
  }

  #postfix(value: TemplateValue): TemplateValue {
    for (;;) {
      if (this.#take('.')) value = member(value, this.words[this.#at++] ?? '');
      else if (this.#take('[')) {
        value = member(value, show(this.#or()));
        if (!this.#take(']')) throw this.#wrong();
      } else if (this.#take('(')) {
        const args: TemplateValue[] = [];
        while (!this.#take(')')) {
          args.push(this.#or());
          if (!this.#take(',') && this.words[this.#at] !== ')') throw this.#wrong();
        }
        if (typeof value !== 'function') throw this.#wrong();
        value = value(...args);
      } else return value;
    }
  }

  #filter(value: TemplateValue): TemplateValue {
    const name = this.words[this.#at++] ?? '';
    const argument = this.#take(':') ? this.#postfix(this.#primary()) : undefined;
    const filter = Object.hasOwn(filters, name) ? filters[name] : undefined;
    if (!filter) throw fault.invalid(`Template: unknown filter "${name}"`);
    return filter(value, argument);
  }

  #take(...words: string[]): boolean {
    if (!words.includes(this.words[this.#at] ?? '')) return false;
    this.#at++;
    return true;
  }

  #wrong(): Error {
    return fault.invalid(`Template: cannot read "${this.text.trim()}"`);
  }
}

function member(value: TemplateValue, key: string): TemplateValue {
  if (value === null || typeof value !== 'object' || value instanceof Date) return undefined;
  return Object.hasOwn(value, key) ? (value as Record<string, TemplateValue>)[key] : undefined;
}

const filters: Record<string, (value: TemplateValue, argument: TemplateValue) => TemplateValue> = {
  default: (value, argument) => (truth(value) ? value : argument),
  upper: (value) => show(value).toUpperCase(),
  lower: (value) => show(value).toLowerCase(),
  length: (value) => (Array.isArray(value) || typeof value === 'string' ? value.length : 0),
  safe: (value) => value,
  trim: (value) => show(value).trim(),
  replace: (value, argument) => show(value).replaceAll(...(show(argument).split(',', 2) as [string, string])),
  date: (value, argument) => (value instanceof Date ? goDate(value, show(argument)) : ''),
};

const two = (number: number): string => String(number).padStart(2, '0');
const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** A time in Go's layout, which is the moment 2006-01-02 15:04:05 as it is to be written. UTC. */
export function goDate(time: Date, layout: string): string {
  const parts: [RegExp, string][] = [
    [/2006/, String(time.getUTCFullYear())],
    [/January/, months[time.getUTCMonth()]!],
    [/Jan/, months[time.getUTCMonth()]!.slice(0, 3)],
    [/Monday/, days[time.getUTCDay()]!],
    [/Mon/, days[time.getUTCDay()]!.slice(0, 3)],
    [/MST/, 'UTC'],
    [/Z07:00/, 'Z'],
    [/-07:00/, '+00:00'],
    [/-0700/, '+0000'],
    [/01/, two(time.getUTCMonth() + 1)],
    [/02/, two(time.getUTCDate())],
    [/15/, two(time.getUTCHours())],
    [/03/, two(time.getUTCHours() % 12 || 12)],
    [/04/, two(time.getUTCMinutes())],
    [/05/, two(time.getUTCSeconds())],
    [/06/, two(time.getUTCFullYear() % 100)],
    [/PM/, time.getUTCHours() < 12 ? 'AM' : 'PM'],
  ];
  const all = new RegExp(parts.map(([part]) => part.source).join('|'), 'g');
  return layout.replace(all, (found) => parts.find(([part]) => new RegExp(`^${part.source}$`).test(found))![1]);
}
