import { createHash } from 'node:crypto';
import { fault } from '#kit';

/** Canonical JSON: keys sorted at every depth, so that equal values have equal tags. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, canonical(inner)]),
  );
}

/** Tag of the fields that matter for an object (behaviours: the same tuple for GET and for the check). Hex SHA-256, without quotes. */
export function etagOf(fields: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(canonical(fields)))
    .digest('hex');
}

/**
 * For the write command itself, so that of two writers only one can win. No If-Match means no check.
 * @throws Fault changed
 */
export function checkEtag(ifMatch: string | undefined, fields: unknown): void {
  if (ifMatch === undefined || ifMatch === '') return;
  const wanted = ifMatch.replace(/^"|"$/g, '');
  const actual = etagOf(fields);
  if (wanted !== actual) throw fault.changed(`ETag doesn't match: ${actual} vs ${wanted}`);
}
