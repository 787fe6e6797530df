import { fault } from '#kit';

/**
 * Reading JSON bodies as LXD's server does: unknown fields are passed over, missing ones have their zero value, null counts as missing, and a wrong type
 * is a clear 400 that names the field.
 */
export class Body {
  readonly #fields: Record<string, unknown>;

  /** @throws Fault invalid unless `body` is a JSON object */
  constructor(
    body: unknown,
    private readonly at = '',
  ) {
    if (body === null || typeof body !== 'object' || Array.isArray(body))
      throw fault.invalid(`Invalid request body: ${at || 'it'} must be a JSON object`);
    this.#fields = body as Record<string, unknown>;
  }

  has(field: string): boolean {
    return this.#fields[field] !== undefined && this.#fields[field] !== null;
  }

  string(field: string, fallback = ''): string {
    return this.#typed(field, 'string', fallback);
  }

  boolean(field: string, fallback = false): boolean {
    return this.#typed(field, 'boolean', fallback);
  }

  /** @throws Fault invalid unless it is a whole number */
  integer(field: string, fallback = 0): number {
    const value = this.#typed(field, 'number', fallback);
    if (!Number.isSafeInteger(value)) throw this.#wrong(field, 'a whole number');
    return value;
  }

  strings(field: string): string[] {
    const value = this.#fields[field] ?? [];
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) throw this.#wrong(field, 'a list of strings');
    return value as string[];
  }

  /** A map of strings (`config`). Values of other simple types are refused, as LXD does. */
  map(field: string): Record<string, string> {
    return stringMap(this.#fields[field] ?? {}, this.#name(field));
  }

  /** A map of maps of strings (`devices`). */
  maps(field: string): Record<string, Record<string, string>> {
    const value = this.#fields[field] ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#wrong(field, 'an object');
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, stringMap(inner, `${this.#name(field)}.${name}`)]));
  }

  /** A nested object; empty when missing. */
  object(field: string): Body {
    return new Body(this.#fields[field] ?? {}, this.#name(field));
  }

  objects(field: string): Body[] {
    const value = this.#fields[field] ?? [];
    if (!Array.isArray(value)) throw this.#wrong(field, 'a list');
    return value.map((item, index) => new Body(item, `${this.#name(field)}[${index}]`));
  }

  #typed<T>(field: string, type: 'string' | 'boolean' | 'number', fallback: T): T {
    const value = this.#fields[field] ?? fallback;
    if (typeof value !== type) throw this.#wrong(field, `a ${type}`);
    return value as T;
  }

  #name(field: string): string {
    return this.at ? `${this.at}.${field}` : field;
  }

  #wrong(field: string, expected: string): Error {
    return fault.invalid(`Invalid request body: ${this.#name(field)} must be ${expected}`);
  }
}

function stringMap(value: unknown, name: string): Record<string, string> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw fault.invalid(`Invalid request body: ${name} must be an object`);
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner !== 'string') throw fault.invalid(`Invalid request body: ${name}.${key} must be a string`);
  }
  return { ...(value as Record<string, string>) };
}
