import type { IncomingMessage, ServerResponse } from 'node:http';
import { isTrue } from '#config-keys';
import type { ReadPort, WatchPort } from '#replica';
import { watchedValue } from '#server/state';

/** Configuration key → the header that it fills. */
const headers = {
  'core.https_allowed_origin': 'Access-Control-Allow-Origin',
  'core.https_allowed_methods': 'Access-Control-Allow-Methods',
  'core.https_allowed_headers': 'Access-Control-Allow-Headers',
} as const;

/** What browsers of other origins may do, as core.https_allowed_* says. Nothing unless it is set. */
export class Cors implements Disposable {
  readonly #values: { header: string; value: ReturnType<typeof watchedValue> }[];
  readonly #credentials: ReturnType<typeof watchedValue>;

  constructor(replica: ReadPort & WatchPort) {
    this.#values = Object.entries(headers).map(([key, header]) => ({ header, value: watchedValue(replica, key) }));
    this.#credentials = watchedValue(replica, 'core.https_allowed_credentials');
  }

  /** For requests with an Origin. True when it was a preflight, which is answered with this. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    for (const { header, value } of this.#values) if (value.get() !== '') response.setHeader(header, value.get());
    if (isTrue(this.#credentials.get())) response.setHeader('Access-Control-Allow-Credentials', 'true');
    if (request.method !== 'OPTIONS') return false;
    response.writeHead(200, { 'content-length': '0' }).end();
    return true;
  }

  [Symbol.dispose](): void {
    for (const { value } of [...this.#values, { value: this.#credentials }]) value[Symbol.dispose]();
  }
}
