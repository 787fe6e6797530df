import { parseFilter } from './filter.js';
import type { Reply } from './reply.js';
import type { ApiRequest } from './request.js';

/** How a list shows its items. */
export interface ListShape<T> {
  url(item: T): string;
  /** The object of recursion 1; also what ?filter= looks at. */
  document(item: T): unknown;
}

/** A list as the request wants it: URLs, or with ?recursion= objects; filtered first. @throws Fault invalid for a bad filter */
export function list<T>(request: ApiRequest, items: readonly T[], shape: ListShape<T>): Reply {
  if (request.filter === '') {
    return { kind: 'sync', metadata: items.map((item) => (request.recursion > 0 ? shape.document(item) : shape.url(item))) };
  }
  const selects = parseFilter(request.filter);
  const shown: unknown[] = [];
  for (const item of items) {
    const document = shape.document(item);
    if (selects(document)) shown.push(request.recursion > 0 ? document : shape.url(item));
  }
  return { kind: 'sync', metadata: shown };
}
