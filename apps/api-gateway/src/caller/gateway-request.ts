import { randomUUID } from 'node:crypto';
import { ServerResponse, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { defaultProject } from '#api-contract';
import { isTrue } from '#config-keys';
import type { ApiRequest, Caller } from '#http-kit';
import { fault } from '#kit';

const noParams: Record<string, string> = {};

/** An ApiRequest over a request of node:http. What costs something and is rarely asked for (`signal`) is made when first asked for. */
export class GatewayRequest implements ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly project: string;
  readonly allProjects: boolean;
  body: unknown = {};
  readonly #search: string;
  #query: URLSearchParams | undefined;
  #requestId: string | undefined;
  #controller: AbortController | undefined;

  /** @throws Fault invalid for ?project= beside ?all-projects= */
  constructor(
    private readonly raw: IncomingMessage,
    /** Its response; the socket of an upgrade. */
    private readonly answer: ServerResponse | Duplex,
    readonly caller: Caller,
    readonly params: Record<string, string> = noParams,
  ) {
    const url = raw.url ?? '/';
    const mark = url.indexOf('?');
    this.method = raw.method ?? 'GET';
    this.path = mark < 0 ? url : url.slice(0, mark);
    this.#search = mark < 0 ? '' : url.slice(mark + 1);
    this.headers = raw.headers;
    // Most requests of a dashboard have no query at all.
    const query = this.#search === '' ? undefined : this.query;
    this.project = query?.get('project') || defaultProject;
    this.allProjects = query !== undefined && isTrue(query.get('all-projects') ?? '');
    if (this.allProjects && query?.get('project')) throw fault.invalid('Cannot specify a project when requesting all projects');
  }

  get query(): URLSearchParams {
    return (this.#query ??= new URLSearchParams(this.#search));
  }

  get requestId(): string {
    return (this.#requestId ??= traceId(this.raw.headers.traceparent));
  }

  get recursion(): number {
    const text = this.query.get('recursion') ?? '';
    return /^\d{1,9}$/.test(text) ? Number(text) : 0;
  }

  get filter(): string {
    return this.query.get('filter') ?? '';
  }

  get target(): string {
    return this.query.get('target') ?? '';
  }

  get dryRun(): boolean {
    return isTrue(this.query.get('dry-run') ?? '');
  }

  get ifMatch(): string | undefined {
    return this.raw.headers['if-match']?.replace(/^"|"$/g, '');
  }

  get stream(): Readable {
    return this.raw;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      const controller = new AbortController();
      this.#controller = controller;
      const { answer } = this;
      // A response closes when it is sent, too; only one that is not finished has lost its client.
      const gone = (): void => (answer instanceof ServerResponse && answer.writableFinished ? undefined : controller.abort());
      if (answer.destroyed) gone();
      else answer.once('close', gone);
    }
    return this.#controller.signal;
  }
}

/** The trace that the client is in, or a new one. W3C: version-traceid-parentid-flags. */
function traceId(traceparent: string | string[] | undefined): string {
  const match = typeof traceparent === 'string' ? /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-/.exec(traceparent) : null;
  return match && !/^0+$/.test(match[1]!) ? match[1]! : randomUUID().replaceAll('-', '');
}
