import { Fault } from '#kit';

// What befalls a call before its handler answers: the same sentences whichever the adapter.
export const timedOut = (cause?: unknown): Fault => new Fault('unavailable', 'Service did not answer in time', { cause, retryAfterS: 1 });
export const cancelled = (cause?: unknown): Fault => new Fault('unavailable', 'Request was cancelled', { cause });
export const notServed = (cause?: unknown): Fault => new Fault('unavailable', 'Service is not running', { cause, retryAfterS: 1 });
