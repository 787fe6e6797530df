/** What the agent's own module injects into host wings, beside their classes. */
export const HOST = Symbol('host-context');
export const HUB = Symbol('event-hub');
/** ImageCopies (#images/host); undefined where there are no clusters. */
export const COPIES = Symbol('image-copies');
