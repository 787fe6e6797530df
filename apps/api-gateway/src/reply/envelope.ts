import { apiUrl, statusText } from '#api-contract';
import type { Reply } from '#http-kit';
import { Fault } from '#kit';
import type { Readable } from 'node:stream';
import { faultStatus } from './fault-status.js';

/** An answer ready to be sent. */
export interface Rendered {
  status: number;
  headers: Record<string, string>;
  body: string | Buffer | Readable;
}

const json = 'application/json';
const syncHead = '{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":';
const createdStatus = `${syncHead}null}\n`;

/** LXD's envelope around what a controller returned: one line of JSON and a newline. */
export function render(reply: Reply): Rendered {
  switch (reply.kind) {
    case 'sync':
      return ok(JSON.stringify(reply.metadata) ?? 'null', { ...reply.headers, ...(reply.etag === undefined ? {} : { ETag: `"${reply.etag}"` }) });
    case 'rendered':
      return ok(reply.json);
    case 'created':
      return { status: 201, headers: { 'content-type': json, Location: reply.location }, body: createdStatus };
    case 'operation': {
      const url = apiUrl(['operations', reply.operation.id]);
      const head = `{"type":"async","status":"${statusText[100]}","status_code":100,"operation":${JSON.stringify(url)},"error_code":0,"error":"","metadata":`;
      return { status: 202, headers: { 'content-type': json, Location: url }, body: `${head}${JSON.stringify(reply.operation)}}\n` };
    }
    case 'dryRun': {
      const { would, placement, unforeseen } = reply;
      return ok(JSON.stringify({ would, ...(placement === undefined ? {} : { placement }), unforeseen }), { 'X-Muster-Dry-Run': '1' });
    }
    case 'raw':
      return { status: reply.status ?? 200, headers: reply.headers, body: reply.body };
  }
}

function ok(metadata: string, headers: Record<string, string> = {}): Rendered {
  return { status: 200, headers: { 'content-type': json, ...headers }, body: `${syncHead}${metadata}}\n` };
}

/** The error envelope. An internal fault tells the client the request's id and nothing else: the rest is in the log. */
export function renderFault(it: Fault, requestId: string): Rendered {
  const status = faultStatus(it);
  const text = it.kind === 'internal' && it.message === 'Internal error' ? `Internal error (request ${requestId})` : it.message;
  return {
    status,
    headers: {
      'content-type': json,
      'X-Content-Type-Options': 'nosniff',
      ...(it.retryAfterS === undefined ? {} : { 'Retry-After': String(Math.ceil(it.retryAfterS)) }),
    },
    body: `${JSON.stringify({
      type: 'error',
      status: '',
      status_code: 0,
      operation: '',
      error_code: status,
      error: text,
      metadata: it.metadata ?? null,
    })}\n`,
  };
}
