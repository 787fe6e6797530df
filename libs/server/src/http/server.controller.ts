import { Controller, Inject } from '@nestjs/common';
import { advertisedExtensions, etagOf } from '#api-contract';
import { GATEWAY, MEMBERS, REPLICA, Route, SERVER, callContext, reply, submitOptions, type ApiRequest, type Gateway, type Reply } from '#http-kit';
import { hashPassword } from '#identities/model';
import { fault } from '#kit';
import { ServerAgentService, type Members, type ServerInfo } from '#members';
import type { Effect, Replica } from '#replica';
import { applyChanges, listenAddresses, parseChanges, shown, type Config, type SplitChanges } from '../model/index.js';
import { changeServerConfig, serverConfig, serverEtag } from '../state/index.js';

const extensions = advertisedExtensions();

@Controller()
export class ServerController {
  /** Changes go one after the other: what a member keeps of its own is not in the replica's order. */
  #turn: Promise<unknown> = Promise.resolve();
  #certificate: { certificate: string; certificate_fingerprint: string } | undefined;
  /** The keys that are addresses of this process, and how each listener moves. */
  readonly #listeners: ReadonlyMap<string, (address: string) => Promise<void>>;

  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
    @Inject(GATEWAY) gateway: Gateway,
  ) {
    this.#listeners = new Map([
      ['core.https_address', (address: string) => gateway.listenHttps(address)],
      ['core.metrics_address', (address: string) => gateway.listenMetrics(address)],
    ]);
  }

  @Route('GET', '/', { access: 'guest', always: true })
  versions(): Reply {
    return reply.sync(['/1.0']);
  }

  @Route('GET', '/1.0', { access: 'guest' })
  async read(request: ApiRequest): Promise<Reply> {
    if (!request.caller.trusted) return reply.sync(untrusted(serverConfig(this.replica.reader)));
    const agent = this.members.calls(ServerAgentService);
    const [{ config: member }, { environment, addresses }] = await Promise.all([
      agent.config({}, callContext(request)),
      agent.environment({}, callContext(request)),
      this.replica.barrier(),
    ]);
    const global = serverConfig(this.replica.reader);
    const config = request.caller.admin ? shown(global, member) : null;
    return reply.sync(
      {
        config,
        ...untrusted(global),
        auth: 'trusted',
        environment: {
          addresses: listenAddresses(member['core.https_address'] ?? '', addresses),
          ...this.#shownCertificate(),
          ...environment,
          project: request.project,
        },
      },
      etagOf(config === null ? null : serverEtag(global, member)),
    );
  }

  /** The fingerprint costs more than all the rest of the answer: it is asked for again only when the certificate is another one. */
  #shownCertificate(): { certificate: string; certificate_fingerprint: string } {
    const certificate = this.server.certificate();
    if (this.#certificate?.certificate !== certificate) this.#certificate = { certificate, certificate_fingerprint: this.server.fingerprint() };
    return this.#certificate;
  }

  @Route('PUT', '/1.0', { access: 'admin' })
  replace(request: ApiRequest): Promise<Reply> {
    return this.#change(request, parseChanges(configOf(request) ?? {}), true);
  }

  @Route('PATCH', '/1.0', { access: 'admin' })
  async patch(request: ApiRequest): Promise<Reply> {
    const config = configOf(request);
    return config === undefined || config === null ? reply.empty() : this.#change(request, parseChanges(config), false);
  }

  async #change(request: ApiRequest, changes: SplitChanges, replace: boolean): Promise<Reply> {
    const password = changes.global['core.trust_password'];
    // Before the turn and before the command: no password may get into the log, and nobody waits for its hash.
    if (typeof password === 'string' && password !== '') changes.global['core.trust_password'] = await hashPassword(password);
    const mine = this.#turn.then(() => this.#changeInTurn(request, changes, replace));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #changeInTurn(request: ApiRequest, changes: SplitChanges, replace: boolean): Promise<Reply> {
    const agent = this.members.calls(ServerAgentService);
    const { config: member } = await agent.config({}, callContext(request));
    const next = applyChanges(member, changes.member, replace);
    if (this.server.memberName() !== 'none' && next['cluster.https_address'] !== member['cluster.https_address']) {
      throw fault.invalid('Changing cluster.https_address is currently not supported');
    }
    const payload = { changes: changes.global, replace, member, ifMatch: request.ifMatch };
    if (request.dryRun) {
      const { would } = await this.replica.dryRun(changeServerConfig, payload, submitOptions(request));
      return reply.dryRun([...would, ...memberEffects(member, next)]);
    }
    // First what can fail outside the database: an address that cannot be bound, a volume that cannot be taken, leaves nothing changed.
    const moved: { back: () => Promise<void> }[] = [];
    try {
      for (const [key, listen] of this.#listeners) {
        const [before, after] = [member[key] ?? '', next[key] ?? ''];
        if (after === before) continue;
        await listen(after);
        moved.push({ back: () => listen(before) });
      }
      await agent.setConfig({ config: next }, callContext(request));
      moved.push({ back: async () => void (await agent.setConfig({ config: member }, callContext(request))) });
      await this.replica.submit(changeServerConfig, payload, submitOptions(request));
    } catch (error) {
      for (const { back } of moved.reverse()) await back();
      throw error;
    }
    return reply.empty();
  }
}

/** What everybody is told. */
const untrusted = (config: Config): Record<string, unknown> => ({
  api_extensions: extensions,
  api_status: 'stable',
  api_version: '1.0',
  auth: 'untrusted',
  public: false,
  // RBAC brings Candid with it.
  auth_methods: config['candid.api.url'] || config['rbac.api.url'] ? ['tls', 'candid'] : ['tls'],
});

function configOf(request: ApiRequest): unknown {
  const { body } = request;
  if (body === null || typeof body !== 'object' || Array.isArray(body)) throw fault.invalid('Invalid request body: it must be a JSON object');
  return (body as { config?: unknown }).config;
}

function memberEffects(before: Config, after: Config): Effect[] {
  const row = (config: Config, key: string): Effect['before'] => (key in config ? { key, value: config[key] } : null);
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((key) => before[key] !== after[key])
    .map((key) => ({
      entity: 'member_config',
      action: key in before ? (key in after ? 'update' : 'delete') : 'create',
      before: row(before, key),
      after: row(after, key),
    }));
}
