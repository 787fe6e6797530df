import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf } from '#api-contract';
import { Body, list, mayTouch, REPLICA, reply, Route, write, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { effectiveProject } from '#projects/state';
import type { Replica } from '#replica';
import * as state from '../state/index.js';

const document = ({ name, description, target, type }: state.AliasRecord): Record<string, string> => ({ description, target, name, type });

/** Alias names may hold slashes, and not every client escapes them: the rest of the path is the name. */
const nameIn = ({ params }: ApiRequest): string => params['*'] ?? params['path'] ?? '';

@Controller()
export class ImageAliasesController {
  constructor(@Inject(REPLICA) private readonly replica: Replica) {}

  @Route('GET', '/1.0/images/aliases', { access: 'project' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    return list(request, state.aliases(this.replica.reader, this.#project(request)), {
      url: ({ name }) => apiUrl(['images', 'aliases', name]),
      document,
    });
  }

  @Route('POST', '/1.0/images/aliases', { access: 'project' })
  async create(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const [name, target, description] = [body.string('name'), body.string('target'), body.string('description')];
    if (name === '' || target === '') throw fault.invalid('name and target are required');
    const project = this.#project(request);
    return write(this.replica, request, state.createAlias, { project, name, description, target }, () =>
      reply.created(apiUrl(['images', 'aliases', name], project)),
    );
  }

  @Route('GET', '/1.0/images/aliases/*', { access: 'guest' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const record = this.#named(request);
    if (!record.public && !mayTouch(request.caller, request.project)) throw fault.notFound('Image alias not found');
    return reply.sync(document(record), etagOf(state.aliasEtag(record)));
  }

  @Route('PUT', '/1.0/images/aliases/*', { access: 'project' })
  async replace(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    if (body.string('target') === '') throw fault.invalid('The target field is required');
    return this.#update(request, body.string('target'), body.string('description'));
  }

  @Route('PATCH', '/1.0/images/aliases/*', { access: 'project' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const record = this.#named(request);
    return this.#update(request, body.string('target', record.target), body.string('description', record.description));
  }

  @Route('POST', '/1.0/images/aliases/*', { access: 'project' })
  async rename(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = this.#project(request);
    const newName = new Body(request.body).string('name');
    const payload = { project, name: nameIn(request), newName };
    return write(this.replica, request, state.renameAlias, payload, () => reply.created(apiUrl(['images', 'aliases', newName], project)));
  }

  @Route('DELETE', '/1.0/images/aliases/*', { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    return write(this.replica, request, state.deleteAlias, { project: this.#project(request), name: nameIn(request) }, () => reply.empty());
  }

  async #update(request: ApiRequest, target: string, description: string): Promise<Reply> {
    await this.replica.barrier();
    const payload = { project: this.#project(request), name: nameIn(request), target, description, ifMatch: request.ifMatch };
    return write(this.replica, request, state.updateAlias, payload, () => reply.empty());
  }

  #named(request: ApiRequest): state.AliasRecord {
    return state.alias(this.replica.reader, this.#project(request), nameIn(request));
  }

  #project(request: ApiRequest): string {
    return effectiveProject(this.replica.reader, request.project, 'features.images');
  }
}
