import { request } from 'node:http';
import type { Operation } from '#api-contract';
import { fault } from '#kit';
import { socketPath } from './state-dir.js';

export interface Answer {
  metadata: unknown;
  etag?: string;
  operation?: string;
}

/** The daemon's REST API over its unix socket, for the subcommands that are clients. */
export class Api {
  constructor(private readonly dir: string) {}

  async get<T>(path: string): Promise<T> {
    return (await this.call('GET', path)).metadata as T;
  }

  /** Waits for the operation where the answer is one. @throws Fault with the server's sentence */
  async change(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown, etag?: string): Promise<unknown> {
    const answer = await this.call(method, path, body, etag);
    if (!answer.operation) return answer.metadata;
    const operation = await this.get<Operation>(`${answer.operation}/wait`);
    if (operation.status_code !== 200) throw fault.internal(operation.err);
    return operation.metadata;
  }

  call(method: string, path: string, body?: unknown, etag?: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const headers = { ...(payload === undefined ? {} : { 'content-type': 'application/json' }), ...(etag ? { 'if-match': etag } : {}) };
      const call = request({ socketPath: socketPath(this.dir), method, path, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          try {
            const envelope = JSON.parse(Buffer.concat(chunks).toString()) as { type: string; error: string; metadata: unknown; operation: string };
            if (envelope.type === 'error') reject(fault.internal(envelope.error, { status: response.statusCode }));
            else resolve({ metadata: envelope.metadata, etag: response.headers.etag, operation: envelope.operation || undefined });
          } catch (error) {
            reject(fault.internal(`The server's answer to ${method} ${path} is not one of the API`, { cause: error }));
          }
        });
      });
      call.on('error', (error) =>
        reject(fault.unavailable(`Failed to connect to Muster at ${socketPath(this.dir)}`, { cause: error, detail: error.message })),
      );
      call.end(payload);
    });
  }
}
