import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf } from '#api-contract';
import { Body, list, REPLICA, reply, Route, write, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import type { Replica } from '#replica';
import * as state from '../state/index.js';
import { groupDocument } from './documents.js';

@Controller()
export class GroupsController {
  constructor(@Inject(REPLICA) private readonly replica: Replica) {}

  @Route('GET', '/1.0/cluster/groups', { access: 'trusted' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.#fresh();
    return list(request, state.groups(this.replica.reader), {
      url: ({ name }) => apiUrl(['cluster', 'groups', name]),
      document: groupDocument,
    });
  }

  @Route('POST', '/1.0/cluster/groups', { access: 'admin' })
  async create(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const payload = { name: body.string('name'), description: body.string('description'), members: body.strings('members') };
    return write(this.replica, request, state.createGroup, payload, () => reply.created(apiUrl(['cluster', 'groups', payload.name])));
  }

  @Route('GET', '/1.0/cluster/groups/:name', { access: 'trusted' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.#fresh();
    const record = state.group(this.replica.reader, request.params.name!);
    return reply.sync(groupDocument(record), etagOf(state.groupEtag(record)));
  }

  @Route('POST', '/1.0/cluster/groups/:name', { access: 'admin' })
  async rename(request: ApiRequest): Promise<Reply> {
    await this.#fresh();
    const payload = { name: request.params.name!, newName: new Body(request.body).string('name') };
    return write(this.replica, request, state.renameGroup, payload, () => reply.created(apiUrl(['cluster', 'groups', payload.newName])));
  }

  @Route('PUT', '/1.0/cluster/groups/:name', { access: 'admin' })
  async replace(request: ApiRequest): Promise<Reply> {
    await this.#fresh();
    const body = new Body(request.body);
    return this.#update(request, { description: body.string('description'), members: body.strings('members') });
  }

  @Route('PATCH', '/1.0/cluster/groups/:name', { access: 'admin' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.#fresh();
    const body = new Body(request.body);
    const current = state.group(this.replica.reader, request.params.name!);
    return this.#update(request, {
      description: body.string('description', current.description),
      members: body.has('members') ? body.strings('members') : current.members,
    });
  }

  @Route('DELETE', '/1.0/cluster/groups/:name', { access: 'admin' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.#fresh();
    return write(this.replica, request, state.deleteGroup, { name: request.params.name! }, () => reply.empty());
  }

  #update(request: ApiRequest, put: { description: string; members: string[] }): Promise<Reply> {
    return write(this.replica, request, state.updateGroup, { name: request.params.name!, put, ifMatch: request.ifMatch }, () => reply.empty());
  }

  async #fresh(): Promise<void> {
    await this.replica.barrier();
    if (!state.isClustered(this.replica.reader)) throw fault.invalid('This server is not clustered');
  }
}
