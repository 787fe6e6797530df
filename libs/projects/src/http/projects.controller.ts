import { Controller, Inject } from '@nestjs/common';
import { apiUrl, defaultProject, etagOf, type Project, type ProjectPut } from '#api-contract';
import {
  Body,
  REPLICA,
  Route,
  list,
  mayTouch,
  reply,
  write,
  type ApiRequest,
  type Reply,
  OPERATIONS,
  writeAsOperation,
  type OperationStarter,
} from '#http-kit';
import { fault } from '#kit';
import type { Replica } from '#replica';
import type { Reader } from '#replica/state';
import { featureNames, features } from '../model/index.js';
import {
  createProject,
  deleteProject,
  project,
  projectEtag,
  projects,
  renameProject,
  targetOf,
  updateProject,
  usedBy,
  type ProjectRecord,
} from '../state/index.js';
import { PROJECT_USAGE, type ProjectUsage } from './usage.js';

@Controller()
export class ProjectsController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(OPERATIONS) private readonly operations: OperationStarter,
    @Inject(PROJECT_USAGE) private readonly usage: ProjectUsage,
  ) {}

  @Route('GET', '/1.0/projects', { access: 'trusted' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { reader } = this.replica;
    const visible = projects(reader).filter(({ name }) => mayTouch(request.caller, name));
    return list(request, visible, {
      url: ({ name }) => apiUrl(['projects', name]),
      document: (record) => this.#document(reader, record),
    });
  }

  @Route('POST', '/1.0/projects', { access: 'admin' })
  async create(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const config = body.map('config');
    for (const feature of featureNames) if (features[feature].defaultOn) config[feature] ??= 'true';
    const name = body.string('name');
    const payload = { name, description: body.string('description'), config };
    return write(this.replica, request, createProject, payload, () => reply.created(apiUrl(['projects', name])));
  }

  @Route('GET', '/1.0/projects/:name', { access: 'trusted' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const record = this.#visible(request);
    return reply.sync(this.#document(this.replica.reader, record), etagOf(projectEtag(record)));
  }

  @Route('PUT', '/1.0/projects/:name', { access: 'admin' })
  async replace(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    return this.#update(request, { description: body.string('description'), config: body.map('config') });
  }

  @Route('PATCH', '/1.0/projects/:name', { access: 'admin' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const current = project(this.replica.reader, request.params.name!);
    return this.#update(request, {
      description: body.string('description', current.description),
      config: { ...current.config, ...body.map('config') },
    });
  }

  @Route('POST', '/1.0/projects/:name', { access: 'admin' })
  async rename(request: ApiRequest): Promise<Reply> {
    const name = request.params.name!;
    const newName = new Body(request.body).string('name');
    if (name === defaultProject) throw fault.forbidden("The 'default' project cannot be renamed");
    const operation = { description: 'Renaming project', project: '' };
    return writeAsOperation({ replica: this.replica, operations: this.operations }, request, renameProject, { name, newName }, operation);
  }

  @Route('DELETE', '/1.0/projects/:name', { access: 'admin' })
  async remove(request: ApiRequest): Promise<Reply> {
    const name = request.params.name!;
    if (name === defaultProject) throw fault.forbidden("The 'default' project cannot be deleted");
    return write(this.replica, request, deleteProject, { name }, () => reply.empty());
  }

  @Route('GET', '/1.0/projects/:name/state', { access: 'trusted' })
  async state(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    return reply.sync({ resources: this.usage.resources(this.replica.reader, this.#visible(request)) });
  }

  #update(request: ApiRequest, put: ProjectPut): Promise<Reply> {
    const payload = { name: request.params.name!, put, ifMatch: request.ifMatch };
    return write(this.replica, request, updateProject, payload, () => reply.empty());
  }

  /** @throws Fault notFound, forbidden */
  #visible(request: ApiRequest): ProjectRecord {
    const name = request.params.name!;
    if (!mayTouch(request.caller, name)) throw fault.forbidden('not authorized');
    return project(this.replica.reader, name);
  }

  #document(reader: Reader, { name, description, config }: ProjectRecord): Project {
    return { config, description, name, used_by: usedBy(reader, targetOf('project', name)) };
  }
}
