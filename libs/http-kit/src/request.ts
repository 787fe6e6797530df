import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Caller } from './caller.js';

/** A request as controllers see it: checked, its query parsed, its body still unread where it is a stream. */
export interface ApiRequest {
  caller: Caller;
  /** W3C trace id. */
  requestId: string;
  method: string;
  /** Path without query. */
  path: string;
  params: Record<string, string>;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  /** Of ?project=, `default` when absent. Already checked against the caller. */
  project: string;
  /** ?all-projects=true. */
  allProjects: boolean;
  /** ?recursion=N, 0 when absent. */
  recursion: number;
  /** ?filter=, '' when absent. */
  filter: string;
  /** ?target=, '' when absent. */
  target: string;
  /** ?dry-run=1. */
  dryRun: boolean;
  /** If-Match, without quotes. */
  ifMatch?: string;
  /** Parsed JSON body, {} when empty; only where the route says it takes JSON. */
  body: unknown;
  /** Raw body, for routes that take bytes. */
  stream: Readable;
  /** Aborted when the client goes away. */
  signal: AbortSignal;
}
