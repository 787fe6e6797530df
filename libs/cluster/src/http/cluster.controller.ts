import { createPrivateKey, X509Certificate } from 'node:crypto';
import { Controller, Inject } from '@nestjs/common';
import { checkEtag, etagOf, type Operation } from '#api-contract';
import { Body, callContext, MEMBERS, REPLICA, reply, Route, SERVER, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { ClusterAgentService, type Members, type ServerInfo } from '#members';
import type { Replica } from '#replica';
import { groupPrefix } from '../model/index.js';
import { isClustered, members } from '../state/index.js';
import { MEMBER_CONFIG, type MemberConfigSource } from './member-config.js';

@Controller()
export class ClusterController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
    @Inject(MEMBER_CONFIG) private readonly memberConfig: MemberConfigSource,
  ) {}

  @Route('GET', '/1.0/cluster', { access: 'trusted' })
  async read(): Promise<Reply> {
    await this.replica.barrier();
    const document = this.#document();
    return reply.sync(document, etagOf(document));
  }

  /** Enable, join or leave, by what the body says. */
  @Route('PUT', '/1.0/cluster', { access: 'admin' })
  async replace(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const [serverName, enabled] = [body.string('server_name'), body.boolean('enabled')];
    if (serverName === '' && enabled) throw fault.invalid('ServerName is required when enabling clustering');
    if (serverName !== '' && !enabled) throw fault.invalid('ServerName must be empty when disabling clustering');
    if (serverName.startsWith(groupPrefix)) throw fault.invalid(`ServerName may not start with "${groupPrefix}"`);
    if (request.dryRun) throw fault.unsupported('What comes of this cannot be foretold');
    const agent = this.members.calls(ClusterAgentService);
    if (!enabled) {
      // What another member asks of one that it has removed; anybody else would leave the others waiting for it.
      if (request.caller.identity.protocol !== 'cluster' && this.server.memberName() !== 'none') {
        throw fault.invalid('This server is a member of a cluster: remove it there');
      }
      await agent.leave({}, callContext(request));
      return reply.empty();
    }
    checkEtag(request.ifMatch, this.#document());
    const token = body.string('cluster_token');
    const clusterAddress = body.string('cluster_address');
    const { operation } =
      clusterAddress === '' && token === ''
        ? await agent.enable({ serverName }, callContext(request))
        : await agent.join(
            {
              serverName,
              clusterAddress,
              serverAddress: body.string('server_address'),
              clusterCertificate: body.string('cluster_certificate'),
              clusterPassword: token || body.string('cluster_password'),
              memberConfig: body.objects('member_config').map((key) => ({
                entity: key.string('entity'),
                name: key.string('name'),
                key: key.string('key'),
                value: key.string('value'),
              })),
            },
            callContext(request),
          );
    return reply.operation(operation as Operation);
  }

  /** Every member that is there gets the new pair; one that is not is told by name, and nothing is changed then. */
  @Route('PUT', '/1.0/cluster/certificate', { access: 'admin' })
  async certificate(request: ApiRequest): Promise<Reply> {
    if (!isClustered(this.replica.reader)) throw fault.invalid('This server is not clustered');
    const body = new Body(request.body);
    const pair = { certificate: body.string('cluster_certificate'), key: body.string('cluster_certificate_key') };
    checkPair(pair);
    if (request.dryRun) return reply.dryRun([], ['whether every member can be reached']);
    const own = this.server.memberName();
    const context = callContext(request);
    const { members: beliefs } = await this.members.calls(ClusterAgentService).beliefs({}, context);
    const gone = beliefs.filter(({ alive }) => !alive).map(({ name }) => name);
    if (gone.length > 0) throw fault.unavailable(`The certificate cannot be replaced while members are offline: ${gone.join(', ')}`);
    const others = members(this.replica.reader).filter(({ name }) => name !== own);
    await Promise.all(others.map(({ name }) => this.members.calls(ClusterAgentService, name).useCertificate(pair, context)));
    await this.members.calls(ClusterAgentService).useCertificate(pair, context);
    return reply.empty();
  }

  #document() {
    const name = this.server.memberName();
    const serverName = name === 'none' ? '' : name;
    return { server_name: serverName, enabled: serverName !== '', member_config: this.memberConfig(this.replica.reader) };
  }
}

function checkPair({ certificate, key }: { certificate: string; key: string }): void {
  let shown: X509Certificate;
  try {
    shown = new X509Certificate(certificate);
  } catch (cause) {
    throw fault.invalid('Certificate must be base64 encoded PEM certificate', { cause });
  }
  try {
    if (shown.checkPrivateKey(createPrivateKey(key))) return;
  } catch (cause) {
    throw fault.invalid('Private key must be base64 encoded PEM key', { cause });
  }
  throw fault.invalid('Private key and certificate do not belong together');
}
