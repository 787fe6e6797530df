import { Fault } from '#kit';
import { InvariantBroken } from '#kit/assert';
import type { Calls, Members, ServiceDefinition } from '../calls.js';
import type { CallContext } from '../context.js';
import { cancelled, notServed, timedOut } from '../call-faults.js';
import { frozenMessage } from '../plain-data.js';
import { type Handler, Services } from '../services.js';
import type { Streams } from '../streams.js';
import { LocalStreams } from '../streams/local-streams.js';

export interface DirectMembersOptions {
  /** Freeze messages and prove that they are plain data: in development and tests. */
  checked: boolean;
  /** Calls to another member, once there are some. */
  remote?: Pick<Members, 'calls' | 'others'>;
  /** Name of this member: a call that names it is direct. */
  memberName: () => string;
}

/** All services in one process: a call is a call. Messages are passed as they are. */
export class DirectMembers implements Members {
  readonly streams: Streams = new LocalStreams();

  /** @param services given where another adapter offers them too */
  constructor(
    private readonly options: DirectMembersOptions,
    private readonly services = new Services(),
  ) {}

  calls<S extends ServiceDefinition>(service: S, member?: string): Calls<S> {
    if (member !== undefined && member !== this.options.memberName()) {
      if (!this.options.remote) throw new Fault('notFound', 'Cluster member not found');
      return this.options.remote.calls(service, member);
    }
    const { checked } = this.options;
    const entries = Object.entries(service).map(([name, { path }]) => [
      name,
      async (request: unknown, context: CallContext): Promise<unknown> => {
        const handler = this.services.handler(path);
        if (!handler) throw notServed();
        const reply = await answered(handler, checked ? frozenMessage(request) : request, context);
        return checked ? frozenMessage(reply) : reply;
      },
    ]);
    return Object.fromEntries(entries) as Calls<S>;
  }

  others(): readonly string[] {
    return this.options.remote?.others() ?? [];
  }

  serve<S extends ServiceDefinition>(service: S, handlers: Calls<S>): void {
    this.services.add(service, handlers);
  }
}

/** As over gRPC: the caller stops waiting at its deadline or when its signal says so, and the handler's signal tells it. Only faults come out. */
async function answered(handler: Handler, request: unknown, context: CallContext): Promise<unknown> {
  const { timeoutMs, signal } = context;
  if (signal?.aborted) throw cancelled();
  if (timeoutMs === undefined && !signal) return handler(request, context).catch(asFault);
  const abort = new AbortController();
  const over = Promise.withResolvers<never>();
  const end = (fault: Fault): void => {
    abort.abort(fault);
    over.reject(fault);
  };
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => end(timedOut()), timeoutMs);
  const onAbort = (): void => end(cancelled());
  signal?.addEventListener('abort', onAbort, { once: true });
  const working = handler(request, { ...context, signal: abort.signal }).catch(asFault);
  // Whoever comes second is nobody's error.
  over.promise.catch(() => {});
  working.catch(() => {});
  try {
    return await Promise.race([working, over.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function asFault(thrown: unknown): never {
  throw thrown instanceof InvariantBroken ? thrown : Fault.from(thrown);
}
