import { createReadStream } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import type { Operation } from '#api-contract';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

interface Envelope {
  type: 'sync' | 'async' | 'error';
  error: string;
  metadata: unknown;
  operation: string;
}

/** The REST API over a unix socket, for tests: `raw` for what exactly is answered, the others for getting things done. */
export class Api {
  constructor(readonly socketPath: string) {}

  async get<T>(path: string): Promise<T> {
    return (await this.#envelope('GET', path)).metadata as T;
  }

  /** Waits for the operation where the answer is one. @throws its error */
  async change(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<unknown> {
    return this.#finished(
      await this.#envelope(method, path, body === undefined ? undefined : JSON.stringify(body), { 'content-type': 'application/json', ...headers }),
    );
  }

  async upload(path: string, file: string, headers: Record<string, string> = {}): Promise<unknown> {
    return this.#finished(await this.#envelope('POST', path, createReadStream(file), { 'content-type': 'application/octet-stream', ...headers }));
  }

  raw(method: string, path: string, body?: string | Buffer | Readable, headers: Record<string, string> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.socketPath, method, path, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text: Buffer.concat(chunks).toString() }));
      });
      call.on('error', reject);
      if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) call.end(body);
      else pipeline(body, call, (error) => error && reject(error));
    });
  }

  async #envelope(method: string, path: string, body?: string | Readable, headers: Record<string, string> = {}): Promise<Envelope> {
    const { status, text } = await this.raw(method, path, body, headers);
    let envelope: Envelope;
    try {
      envelope = JSON.parse(text) as Envelope;
    } catch {
      throw new Error(`${method} ${path}: not an envelope: ${status} ${text.slice(0, 200)}`);
    }
    if (envelope.type === 'error') throw Object.assign(new Error(`${method} ${path}: ${envelope.error}`), { status });
    return envelope;
  }

  async #finished(envelope: Envelope): Promise<unknown> {
    if (envelope.type !== 'async') return envelope.metadata;
    const operation = await this.get<Operation>(`${envelope.operation}/wait`);
    if (operation.status_code !== 200) throw new Error(operation.err);
    return operation.metadata;
  }
}
