import type { Readable } from 'node:stream';
import type { Operation } from '#api-contract';

/**
 * What a controller answers. Controllers return one of these (or throw a Fault); the gateway renders envelope, status and headers.
 */
export type Reply =
  | { kind: 'sync'; metadata: unknown; etag?: string; headers?: Record<string, string> }
  | { kind: 'created'; location: string }
  | { kind: 'operation'; operation: Operation; project?: string }
  /** Rendered JSON of a list, spliced into the envelope as it is. */
  | { kind: 'rendered'; json: string }
  /** Anything that is not JSON in an envelope: files, metrics, exports. */
  | { kind: 'raw'; status?: number; headers: Record<string, string>; body: Readable | Buffer | string }
  | { kind: 'dryRun'; would: unknown[]; placement?: unknown; unforeseen: string[] };

export const reply = {
  /** 200 with metadata; `etagFields` are hashed as `etagOf` does. */
  sync: (metadata: unknown, etag?: string): Reply => ({ kind: 'sync', metadata, etag }),
  /** 200 with `{}`. */
  empty: (): Reply => ({ kind: 'sync', metadata: {} }),
  /** 201 with Location. */
  created: (location: string): Reply => ({ kind: 'created', location }),
  /** 202 with the operation. */
  operation: (operation: Operation): Reply => ({ kind: 'operation', operation }),
  rendered: (json: string): Reply => ({ kind: 'rendered', json }),
  raw: (body: Readable | Buffer | string, headers: Record<string, string> = {}, status?: number): Reply => ({ kind: 'raw', body, headers, status }),
  /** 200, X-Muster-Dry-Run: 1. */
  dryRun: (would: unknown[], unforeseen: string[] = [], placement?: unknown): Reply => ({ kind: 'dryRun', would, unforeseen, placement }),
};
