import { assert } from '#kit/assert';
import type { Calls, ServiceDefinition } from './calls.js';
import type { CallContext } from './context.js';

export type Handler = (request: unknown, context: CallContext) => Promise<unknown>;

/** The services that this process offers, by the path of each method (`/muster.v1.OperationsAgent/List`). */
export class Services {
  readonly #handlers = new Map<string, Handler>();
  readonly #definitions: ServiceDefinition[] = [];

  add<S extends ServiceDefinition>(service: S, handlers: Calls<S>): void {
    this.#definitions.push(service);
    for (const [name, method] of Object.entries(service)) {
      assert(!method.requestStream && !method.responseStream, `${method.path}: bytes travel beside the calls, no streaming methods`);
      assert(!this.#handlers.has(method.path), `${method.path} is served twice`);
      const handler = handlers[name as keyof S] as unknown as Handler;
      // An object with methods may be served as it is. A handler that throws at once is one that rejects.
      this.#handlers.set(method.path, async (request, context) => handler.call(handlers, request, context));
    }
  }

  /** What was added, for servers that have to know it. */
  get definitions(): readonly ServiceDefinition[] {
    return this.#definitions;
  }

  handler(path: string): Handler | undefined {
    return this.#handlers.get(path);
  }
}
