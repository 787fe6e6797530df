import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf, type Profile, type ProfilePut } from '#api-contract';
import { Body, REPLICA, Route, callContext, list, reply, write, type ApiRequest, type Reply } from '#http-kit';
import { Fault, fault } from '#kit';
import { effectiveProject, targetOf, usedBy } from '#projects/state';
import type { Replica } from '#replica';
import type { Reader } from '#replica/state';
import { createProfile, deleteProfile, profile, profileEtag, profiles, renameProfile, updateProfile, type ProfileRecord } from '../state/index.js';
import { PROFILE_RULES, type ProfileRules } from './rules.js';

@Controller()
export class ProfilesController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(PROFILE_RULES) private readonly rules: ProfileRules,
  ) {}

  @Route('GET', '/1.0/profiles', { access: 'project' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { reader } = this.replica;
    return list(request, profiles(reader, this.#project(request)), {
      url: ({ name, project }) => apiUrl(['profiles', name], project),
      document: (record) => document(reader, record),
    });
  }

  @Route('POST', '/1.0/profiles', { access: 'project' })
  async create(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const project = this.#project(request);
    const name = body.string('name');
    const put = bodyPut(body);
    this.rules.check(this.replica.reader, project, put);
    return write(this.replica, request, createProfile, { project, name, ...put }, () => reply.created(apiUrl(['profiles', name], project)));
  }

  @Route('GET', '/1.0/profiles/:name', { access: 'project' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const record = this.#named(request, 'Fetch profile: ');
    return reply.sync(document(this.replica.reader, record), etagOf(profileEtag(record)));
  }

  @Route('PUT', '/1.0/profiles/:name', { access: 'project' })
  async replace(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    return this.#update(request, this.#named(request), bodyPut(new Body(request.body)));
  }

  @Route('PATCH', '/1.0/profiles/:name', { access: 'project' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const current = this.#named(request);
    const patch = { description: body.string('description', current.description), config: body.map('config'), devices: body.maps('devices') };
    const put = { ...patch, config: { ...current.config, ...patch.config }, devices: { ...current.devices, ...patch.devices } };
    return this.#update(request, current, put, body.has('description') ? patch : { config: patch.config, devices: patch.devices });
  }

  @Route('POST', '/1.0/profiles/:name', { access: 'project' })
  async rename(request: ApiRequest): Promise<Reply> {
    const project = this.#project(request);
    const name = request.params.name!;
    const newName = new Body(request.body).string('name');
    if (name === 'default') throw fault.forbidden('The "default" profile cannot be renamed');
    return write(this.replica, request, renameProfile, { project, name, newName }, () => reply.created(apiUrl(['profiles', newName], project)));
  }

  @Route('DELETE', '/1.0/profiles/:name', { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    const name = request.params.name!;
    if (name === 'default') throw fault.forbidden('The "default" profile cannot be deleted');
    return write(this.replica, request, deleteProfile, { project: this.#project(request), name }, () => reply.empty());
  }

  /** `patch`: only this is changed, of whatever the profile is by then; `put` is what that makes of it now, for the checks. */
  async #update(request: ApiRequest, before: ProfileRecord, put: ProfilePut, patch?: Partial<ProfilePut>): Promise<Reply> {
    const { project, name } = before;
    this.rules.check(this.replica.reader, project, put);
    this.rules.checkChange(this.replica.reader, project, name, before, put);
    const payload = { project, name, put: patch ?? put, merge: patch !== undefined, ifMatch: request.ifMatch };
    return write(this.replica, request, updateProfile, payload, async () => {
      await this.rules.changed(project, name, before, callContext(request));
      return reply.empty();
    });
  }

  #project(request: ApiRequest): string {
    return effectiveProject(this.replica.reader, request.project, 'features.profiles');
  }

  /** @throws Fault notFound, its sentence after `prefix` as LXD has it */
  #named(request: ApiRequest, prefix = ''): ProfileRecord {
    try {
      return profile(this.replica.reader, this.#project(request), request.params.name!);
    } catch (error) {
      if (error instanceof Fault && error.kind === 'notFound') throw fault.notFound(prefix + error.message);
      throw error;
    }
  }
}

const bodyPut = (body: Body): ProfilePut => ({ description: body.string('description'), config: body.map('config'), devices: body.maps('devices') });

function document(reader: Reader, { project, name, description, config, devices }: ProfileRecord): Profile {
  return { config, description, devices, name, used_by: usedBy(reader, targetOf('profile', project, name)) };
}
