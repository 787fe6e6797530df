import type { CallContext } from '#members';

/** Nest token of a TrustSettings. */
export const TRUST_SETTINGS = Symbol('trust-settings');

/** What decides about trust and is known to the server's configuration, which stands above; the gateway brings it. */
export interface TrustSettings {
  /** core.trust_password as it is kept (`hashPassword`), '' when there is none. */
  passwordHash(): string;
  /** When a token made now expires; undefined: never. */
  tokenExpiry(now: Date): Date | undefined;
  /** Where clients reach this server, `host:port`; empty when it does not listen on HTTPS. */
  addresses(context: CallContext): Promise<string[]>;
}
