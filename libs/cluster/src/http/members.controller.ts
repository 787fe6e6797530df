import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf, type Operation } from '#api-contract';
import { Body, callContext, CLOCK, list, MEMBERS, REPLICA, reply, Route, SERVER, write, type ApiRequest, type Reply } from '#http-kit';
import { fault, type Clock } from '#kit';
import { ClusterAgentService, type Members, type ServerInfo } from '#members';
import type { Replica } from '#replica';
import * as state from '../state/index.js';
import { memberDocument, type View } from './documents.js';

@Controller()
export class MembersController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(SERVER) private readonly server: ServerInfo,
  ) {}

  @Route('GET', '/1.0/cluster/members', { access: 'trusted' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.#fresh(500);
    const view = await this.#view(request);
    return list(request, state.members(this.replica.reader), {
      url: ({ name }) => apiUrl(['cluster', 'members', name]),
      document: (record) => memberDocument(record, view),
    });
  }

  /** A join token. */
  @Route('POST', '/1.0/cluster/members', { access: 'admin' })
  async invite(request: ApiRequest): Promise<Reply> {
    await this.#fresh(400);
    const serverName = new Body(request.body).string('server_name');
    if (request.dryRun) return reply.dryRun([{ entity: 'operations', action: 'create', before: null, after: { class: 'token', serverName } }]);
    const { operation } = await this.members.calls(ClusterAgentService).issueToken({ serverName }, callContext(request));
    return reply.operation(operation as Operation);
  }

  @Route('GET', '/1.0/cluster/members/:name', { access: 'trusted' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.#fresh(500);
    const record = state.member(this.replica.reader, request.params.name!);
    return reply.sync(memberDocument(record, await this.#view(request)), etagOf(state.memberEtag(record)));
  }

  @Route('PUT', '/1.0/cluster/members/:name', { access: 'admin' })
  async replace(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    return this.#update(request, {
      roles: body.strings('roles'),
      failureDomain: body.string('failure_domain'),
      description: body.string('description'),
      config: body.map('config'),
      groups: body.strings('groups'),
    });
  }

  @Route('PATCH', '/1.0/cluster/members/:name', { access: 'admin' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.#fresh(500);
    const body = new Body(request.body);
    const current = state.member(this.replica.reader, request.params.name!);
    const { roles } = memberDocument(current, await this.#view(request));
    return this.#update(request, {
      roles: body.has('roles') ? body.strings('roles') : roles,
      failureDomain: body.string('failure_domain', current.failureDomain),
      description: body.string('description', current.description),
      config: { ...current.config, ...body.map('config') },
      groups: body.has('groups') ? body.strings('groups') : current.groups,
    });
  }

  @Route('POST', '/1.0/cluster/members/:name', { access: 'admin' })
  async rename(request: ApiRequest): Promise<Reply> {
    await this.#fresh(500);
    const newName = new Body(request.body).string('server_name');
    return write(this.replica, request, state.renameMember, { name: request.params.name!, newName }, () => reply.empty());
  }

  @Route('DELETE', '/1.0/cluster/members/:name', { access: 'admin' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.#fresh(500);
    const payload = { name: request.params.name!, force: request.query.get('force') === '1' };
    if (request.dryRun) return write(this.replica, request, state.removeMember, payload, () => reply.empty());
    await this.members.calls(ClusterAgentService).remove(payload, callContext(request));
    return reply.empty();
  }

  /** The gateway has brought this to the member that is meant. */
  @Route('POST', '/1.0/cluster/members/:name/state', { access: 'admin' })
  async changeState(request: ApiRequest): Promise<Reply> {
    await this.#fresh(500);
    const body = new Body(request.body);
    const [name, action, mode] = [request.params.name!, body.string('action'), body.string('mode')];
    if (action !== 'evacuate' && action !== 'restore') throw fault.invalid(`Unknown action "${action}"`);
    const wanted = { name, state: action === 'evacuate' ? ('evacuated' as const) : ('created' as const) };
    if (request.dryRun) return write(this.replica, request, state.setMemberState, wanted, () => reply.empty());
    const agent = this.members.calls(ClusterAgentService, name === this.server.memberName() ? undefined : name);
    const { operation } = await agent.changeState({ name, action, mode }, callContext(request));
    return reply.operation(operation as Operation);
  }

  #update(request: ApiRequest, put: state.MemberPut): Promise<Reply> {
    const payload = { name: request.params.name!, put, ifMatch: request.ifMatch };
    return write(this.replica, request, state.updateMember, payload, () => reply.empty());
  }

  async #view(request: ApiRequest): Promise<View> {
    const beliefs = await this.members.calls(ClusterAgentService).beliefs({}, callContext(request));
    return { beliefs, configuration: state.raftConfiguration(this.replica.reader), now: this.clock.now() };
  }

  /** @throws Fault where there is no cluster, with the words and the status that LXD has for it */
  async #fresh(status: 400 | 500): Promise<void> {
    await this.replica.barrier();
    if (state.isClustered(this.replica.reader)) return;
    throw fault.invalid(status === 400 ? 'This server is not clustered' : 'Server is not clustered', { status });
  }
}
