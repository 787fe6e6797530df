import { parse } from 'yaml';
import { fault } from '#kit';
import { architectureName } from './architectures.js';

export interface ImageTemplate {
  when: string[];
  create_only: boolean;
  template: string;
  properties: Record<string, string>;
}

/** metadata.yaml of an image. Times are seconds since 1970; 0: never. */
export interface ImageMetadata {
  architecture: string;
  creation_date: number;
  expiry_date: number;
  properties: Record<string, string>;
  templates: Record<string, ImageTemplate>;
}

/** metadata.yaml may be this large; real ones have a few hundred bytes. */
export const metadataMaxBytes = 1024 * 1024;

/** @throws Fault invalid for what is not such a document */
export function parseMetadata(text: string): ImageMetadata {
  if (Buffer.byteLength(text) > metadataMaxBytes) throw fault.invalid('The metadata.yaml of the image is too large');
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw fault.invalid('The metadata.yaml of the image is not valid YAML', { detail: String(error) });
  }
  const fields = mapOf(document, 'metadata.yaml');
  const creation = secondsOf(fields['creation_date'], 'creation_date');
  if (creation === 0) throw fault.invalid('Missing creation date');
  return {
    architecture: architectureName(textOf(fields['architecture'] ?? '', 'architecture')),
    creation_date: creation,
    expiry_date: secondsOf(fields['expiry_date'], 'expiry_date'),
    properties: textsOf(fields['properties'] ?? {}, 'properties'),
    templates: Object.fromEntries(
      Object.entries(mapOf(fields['templates'] ?? {}, 'templates')).map(([path, value]) => [path, templateOf(path, value)]),
    ),
  };
}

function templateOf(path: string, value: unknown): ImageTemplate {
  const fields = mapOf(value, `templates.${path}`);
  const template = textOf(fields['template'] ?? '', `templates.${path}.template`);
  // It names a file of the image's templates directory, and nothing else.
  if (template === '' || template.includes('/') || template === '.' || template === '..') throw fault.invalid(`Invalid template name "${template}"`);
  const when = fields['when'] ?? [];
  if (!Array.isArray(when)) throw fault.invalid(`Invalid metadata.yaml: templates.${path}.when must be a list`);
  return {
    when: when.map((word) => textOf(word, `templates.${path}.when`)),
    create_only: fields['create_only'] === true,
    template,
    properties: textsOf(fields['properties'] ?? {}, `templates.${path}.properties`),
  };
}

function mapOf(value: unknown, name: string): Record<string, unknown> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw fault.invalid(`Invalid metadata.yaml: ${name} must be a map`);
  return value as Record<string, unknown>;
}

function textOf(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw fault.invalid(`Invalid metadata.yaml: ${name} must be a text`);
}

const textsOf = (value: unknown, name: string): Record<string, string> =>
  Object.fromEntries(Object.entries(mapOf(value, name)).map(([key, inner]) => [key, textOf(inner ?? '', `${name}.${key}`)]));

function secondsOf(value: unknown, name: string): number {
  const seconds = Number(value ?? 0);
  if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds > 253_402_300_799)
    throw fault.invalid(`Invalid metadata.yaml: ${name} must be a time in seconds`);
  return seconds;
}
