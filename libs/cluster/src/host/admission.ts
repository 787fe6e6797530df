import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Operation } from '#api-contract';
import { Attempts, decodeToken, passwordMatches, sameSecret, type JoinToken } from '#identities/model';
import { fault, type Logger } from '#kit';
import { type AdmitReply, type AdmitRequest, type CallContext, OperationsAgentService } from '#members';
import { internalIdentity } from '#replica/state';
import { serverValue } from '#server/state';
import { admitMember } from '../state/index.js';
import type { ClusterParts } from './cluster-parts.js';
import { peersOf } from './role-keeper.js';

const clockMs = 1_000;
const tokensMs = 2_000;

/** The cluster's side of a join: who holds a token or knows the trust password gets a row, a place in consensus, and the keys. */
export class Admission {
  readonly #attempts: Attempts;
  readonly #log: Logger;

  constructor(private readonly parts: ClusterParts) {
    this.#attempts = new Attempts(() => parts.context.clock.monotonicMs());
    this.#log = parts.context.log;
  }

  /** @throws Fault forbidden, invalid; unavailable (429) after too many failures from one address */
  async admit(request: AdmitRequest, call: CallContext): Promise<AdmitReply> {
    const { replica, identity, membership, context } = this.parts;
    const pair = identity.clusterPair;
    if (!pair || !membership.clustered) throw fault.invalid("Clustering isn't enabled");
    const host = request.from.replace(/:\d+$/, '');
    this.#attempts.begin(host);
    const token = await this.#authorise(request, call);
    this.#attempts.succeeded(host);
    const skewMs = Math.abs(Date.parse(request.now) - context.clock.now().getTime());
    if (!(skewMs <= clockMs + this.parts.joinSlackMs)) {
      throw fault.invalid(`The clock of the joining server is ${(skewMs / 1000).toFixed(1)} s off; set it right and try again`);
    }
    const joiner = { name: request.serverName, address: request.serverAddress, architecture: request.architecture };
    const { result } = await replica.submit(admitMember, joiner, { identity: internalIdentity, requestId: call.requestId });
    // Used up only by a join that began: a refused one leaves everything as it was.
    if (token) await this.#useUp(token, call).catch((error: unknown) => this.#log.warn({ err: error }, 'a join token could not be used up'));
    const { member } = await replica.status();
    return {
      member: result.id,
      cluster: member.clusterId,
      certificate: pair.certificate,
      key: pair.key,
      secretsKey: secretsKey(context.server.stateDir),
      peers: peersOf(replica),
    };
  }

  /** The token operation, when it was one. */
  async #authorise({ password, serverName, from }: AdmitRequest, call: CallContext): Promise<Operation | undefined> {
    const decoded = decodeToken(password);
    if (decoded?.kind === 'join') {
      const found = await this.#find(decoded.token, call);
      if (found && decoded.token.server_name === serverName) return found;
      throw this.#refused(from, 'No matching cluster join operation found');
    }
    if (await passwordMatches(serverValue(this.parts.replica.reader, 'core.trust_password'), password)) return undefined;
    throw this.#refused(from, 'not authorized');
  }

  /** Tokens are operations of the member that made them; any member may be asked to admit. */
  async #find(token: JoinToken, call: CallContext): Promise<Operation | undefined> {
    const now = this.parts.context.clock.now().getTime();
    const matching = (await this.tokens(call)).filter(({ metadata }) => sameSecret(String(metadata?.secret ?? ''), token.secret));
    return matching.find(({ metadata }) => metadata?.serverName === token.server_name && Date.parse(String(metadata.expiresAt)) > now);
  }

  /** The live join tokens of all members that answer. */
  async tokens(call: CallContext): Promise<Operation[]> {
    const { context, membership } = this.parts;
    const wanted = { projects: [], allProjects: true, history: false, limit: 0 };
    const asked = membership.members.map(async ({ name }) => {
      const agent = context.members.calls(OperationsAgentService, name);
      return (await agent.list(wanted, { ...call, timeoutMs: tokensMs })).operations.map(({ operation }) => operation as Operation);
    });
    const answers = (await Promise.allSettled(asked)).flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    return answers.filter(({ class: kind, status_code, metadata }) => kind === 'token' && status_code === 103 && metadata?.serverName !== undefined);
  }

  async #useUp({ id, location }: Operation, call: CallContext): Promise<void> {
    await this.parts.context.members.calls(OperationsAgentService, location).cancel({ id }, call);
  }

  async cancel(operation: Operation, call: CallContext): Promise<void> {
    await this.#useUp(operation, call);
  }

  #refused(address: string, sentence: string): Error {
    this.#log.warn({ address }, 'refused a server that asked to join');
    return fault.forbidden(sentence);
  }
}

/** Empty while nothing was ever sealed. */
function secretsKey(stateDir: string): Buffer {
  try {
    return readFileSync(join(stateDir, 'secrets.key'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}
