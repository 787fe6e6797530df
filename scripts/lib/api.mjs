// The REST API over a member's unix socket, for scripts.
import { createReadStream } from 'node:fs';
import { request } from 'node:http';
import { pipeline } from 'node:stream';

export class Api {
  constructor(socketPath) {
    this.socketPath = socketPath;
  }

  async get(path) {
    return (await this.call('GET', path)).metadata;
  }

  /** Waits for the operation where the answer is one; throws its error. */
  async change(method, path, body) {
    return this.#finished(
      await this.call(method, path, body === undefined ? undefined : JSON.stringify(body), { 'content-type': 'application/json' }),
    );
  }

  /** POSTs a file; returns the operation's metadata. */
  async upload(path, file, headers) {
    return this.#finished(await this.call('POST', path, createReadStream(file), { 'content-type': 'application/octet-stream', ...headers }));
  }

  async #finished(envelope) {
    if (envelope.type !== 'async') return envelope.metadata;
    const operation = await this.get(`${envelope.operation}/wait`);
    if (operation.status_code !== 200) throw new Error(operation.err);
    return operation.metadata;
  }

  call(method, path, body, headers = {}) {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.socketPath, method, path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
        response.on('error', reject).on('end', () => {
          try {
            const envelope = JSON.parse(text);
            if (envelope.type === 'error') reject(Object.assign(new Error(envelope.error), { status: response.statusCode }));
            else resolve(envelope);
          } catch (error) {
            reject(error);
          }
        });
      }).on('error', reject);
      if (body === undefined || typeof body === 'string') call.end(body);
      else pipeline(body, call, (error) => error && reject(error));
    });
  }
}
