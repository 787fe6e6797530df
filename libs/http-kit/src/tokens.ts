/** Nest injection tokens for what the process offers to http wings. `@Inject(REPLICA) private readonly replica: Replica`. */
export const REPLICA = Symbol('replica');
/** Member (#members): typed calls to agents and schedulers, and Streams. */
export const MEMBERS = Symbol('members');
/** EventHub (#events/host). */
export const EVENTS = Symbol('events');
/** ServerInfo (#members): facts of this member. */
export const SERVER = Symbol('server');
export const CLOCK = Symbol('clock');
export const LOGGER = Symbol('logger');
/** Gateway (./gateway.ts): the listeners of this process. */
export const GATEWAY = Symbol('gateway');
/** Operations (#operations/host) of this process, for what has no agent of its own (trust tokens). */
export const OPERATIONS = Symbol('operations');
