import type { ApiRequest } from '#http-kit';
import { callContext } from '#http-kit';
import { fault, type Clock, type Logger } from '#kit';
import { Attempts, checkType, decodeToken, passwordMatches } from '../model/index.js';
import type { TrustSettings } from './trust-settings.js';
import type { TokenGrant, TrustTokens } from './trust-tokens.js';

export interface Admitted extends TokenGrant {
  fromToken?: boolean;
}

/** Lets in who knows the trust password or holds a token. Attempts are bounded by address before anything costly or telling is done. */
export class Admission {
  readonly #attempts: Attempts;

  constructor(
    private readonly settings: TrustSettings,
    private readonly tokens: TrustTokens | undefined,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {
    this.#attempts = new Attempts(() => clock.monotonicMs());
  }

  /** @throws Fault forbidden; unavailable (429) after too many failures from one address */
  async admit(request: ApiRequest, password: string, asked: Omit<TokenGrant, 'type'> & { type: string }): Promise<Admitted> {
    const { address } = request.caller.identity;
    const host = address.replace(/:\d+$/, '');
    if (password === '') throw fault.forbidden('not authorized');
    this.#attempts.begin(host);
    const token = decodeToken(password);
    if (token?.kind === 'join') throw this.#refused(address, 'No matching cluster join operation found');
    if (token) {
      const grant = await this.#byToken(request, token.token);
      if (!grant) throw this.#refused(address, 'No matching certificate add operation found');
      this.#attempts.succeeded(host);
      return { ...grant, fromToken: true };
    }
    if (!(await passwordMatches(this.settings.passwordHash(), password))) throw this.#refused(address, 'not authorized');
    this.#attempts.succeeded(host);
    const type = checkType(asked.type);
    // The password makes clients; a member of the cluster comes by a join token.
    if (type === 'server') throw fault.forbidden('not authorized');
    return { ...asked, type };
  }

  async #byToken(request: ApiRequest, token: Parameters<TrustTokens['find']>[0]): Promise<TokenGrant | undefined> {
    if (!this.tokens) return undefined;
    const now = this.clock.now();
    if (request.dryRun) return this.tokens.find(token, now)?.grant;
    return this.tokens.find(token, now) && this.tokens.take(token, now, callContext(request));
  }

  #refused(address: string, sentence: string): Error {
    this.log.warn({ address }, 'refused a client that asked to be trusted');
    return fault.forbidden(sentence);
  }
}
