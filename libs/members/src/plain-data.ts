import { assert } from '#kit/assert';

/**
 * A message on its way through the direct adapter, in development and tests: frozen to its depth, and proved to be plain data, so that nothing works
 * in one process which would not work in two. Bytes cannot be frozen.
 */
export function frozenMessage<T>(value: T): T {
  freeze(value, '');
  return value;
}

function freeze(value: unknown, path: string): void {
  assert(typeof value !== 'function' && typeof value !== 'symbol', `a message is plain data: ${path || 'it'} is a ${typeof value}`);
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value) || Object.isFrozen(value)) return;
  const prototype: unknown = Object.getPrototypeOf(value);
  assert(
    Array.isArray(value) || prototype === null || prototype === Object.prototype,
    `a message is plain data: ${path || 'it'} is a ${value.constructor?.name ?? 'class instance'}`,
  );
  Object.freeze(value);
  for (const [key, inner] of Object.entries(value)) freeze(inner, path === '' ? key : `${path}.${key}`);
}
