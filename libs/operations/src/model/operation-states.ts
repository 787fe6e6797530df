import { statusText, type Operation, type StatusCode } from '#api-contract';

/** 200 and above: the operation will not change any more. */
export const isFinal = (code: StatusCode): boolean => code >= 200;

/** The words of operations: `Running`, `Success` … */
export function withStatus(operation: Operation, code: StatusCode, at: Date): Operation {
  return { ...operation, status: statusText[code], status_code: code, updated_at: at.toISOString() };
}

/** Clients before `instances` look under `containers`, with the older URL. */
export function withContainers(resources: Record<string, string[]>): Record<string, string[]> {
  const { instances, containers } = resources;
  if (!instances || containers) return resources;
  return { ...resources, containers: instances.map((url) => url.replace(/^\/1\.0\/instances\//, '/1.0/containers/')) };
}

/** What history shows in place of a secret. It is never taken for one. */
export const hiddenSecret = '<hidden>';

/** For history: secrets open nothing any more, and stay out of files. @param secrets values to hide wherever they stand */
export function withoutSecrets(operation: Operation, secrets: readonly string[]): Operation {
  const values = new Set(secrets);
  const secret = operation.metadata?.['secret'];
  if (typeof secret === 'string') values.add(secret);
  const hide = (value: unknown): unknown => {
    if (typeof value === 'string') return values.has(value) ? hiddenSecret : value;
    if (Array.isArray(value)) return value.map(hide);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, hide(inner)]));
  };
  return values.size === 0 ? operation : { ...operation, metadata: hide(operation.metadata) as Operation['metadata'] };
}
