import { randomBytes } from 'node:crypto';
import type { Operation } from '#api-contract';
import { fault, type Fault } from '#kit';
import type { CallContext, ServerInfo } from '#members';
import type { Identity } from '#replica/state';
import { checkType, sameSecret, type AddToken, type CertificateType } from '../model/index.js';

/** The part of the member's operations that tokens need (token OPERATIONS of #http-kit): operations stand above identities. */
export interface TokenOperations {
  start(request: {
    description: string;
    class: 'token';
    project: string;
    metadata: Record<string, unknown>;
    mayCancel: boolean;
    expiresAt?: Date;
    context: CallContext;
  }): Operation;
  /** The live ones. */
  tokens(): Operation[];
  /** @throws Fault when it is no longer live */
  cancel(id: string, by?: Identity): Promise<void>;
}

/** What whoever made the token decided for whoever uses it. */
export interface TokenGrant {
  name: string;
  type: CertificateType;
  restricted: boolean;
  projects: string[];
}

/** Trust tokens are operations of class token: listed, cancelled and expired as such, in the memory of the member that made them. */
export class TrustTokens {
  constructor(
    private readonly operations: TokenOperations,
    private readonly server: ServerInfo,
  ) {}

  issue(grant: TokenGrant, addresses: string[], expiresAt: Date | undefined, context: CallContext): Operation {
    return this.operations.start({
      description: 'Executing operation',
      class: 'token',
      // Of no project: a trust token is the whole server's.
      project: '',
      mayCancel: true,
      metadata: {
        addresses,
        fingerprint: this.server.fingerprint(),
        request: { ...grant, certificate: '', password: '', token: true },
        secret: randomBytes(32).toString('hex'),
        ...(expiresAt ? { expiresAt: expiresAt.toISOString() } : {}),
      },
      ...(expiresAt ? { expiresAt } : {}),
      context,
    });
  }

  /** Whether a token is good, without using it up. */
  find(token: AddToken, now: Date): { id: string; grant: TokenGrant } | undefined {
    // All are compared, so that the time does not tell which one came close.
    const matching = this.operations.tokens().filter(({ metadata }) => sameSecret(String(metadata?.secret ?? ''), token.secret));
    const found = matching.find(({ metadata }) => metadata?.request !== undefined);
    if (!found) return undefined;
    const { expiresAt, request } = found.metadata as { expiresAt?: string; request: TokenGrant };
    if (expiresAt !== undefined && Date.parse(expiresAt) < now.getTime()) return undefined;
    const { name, type, restricted, projects } = request;
    return { id: found.id, grant: { name, type: checkType(type), restricted, projects } };
  }

  /** Uses a token up: of two who show it at once, one gets in. @throws Fault forbidden */
  async take(token: AddToken, now: Date, context: CallContext): Promise<TokenGrant> {
    const found = this.find(token, now);
    if (!found) throw unknownToken();
    await this.operations.cancel(found.id, context.identity).catch(() => {
      throw unknownToken();
    });
    return found.grant;
  }
}

const unknownToken = (): Fault => fault.forbidden('No matching certificate add operation found');
