import { Controller, Inject, Optional } from '@nestjs/common';
import { etagOf, type Operation } from '#api-contract';
import { isClustered } from '#cluster/state';
import { Body, MEMBERS, REPLICA, Route, callContext, reply, submitOptions, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { InstancesAgentService, type Calls, type Members } from '#members';
import { project } from '#projects/state';
import type { Replica } from '#replica';
import { isAction } from '../model/index.js';
import { instance, instanceEtag, renameInstance, updateInstance, deleteInstance, type InstanceChange, type InstanceRecord } from '../state/index.js';
import { wantedInstance } from './create.js';
import { isUp } from './documents.js';
import { INSTANCE_TRANSFERS, type InstanceTransfers } from './ports.js';
import type { Tree } from './trees.js';
import { InstanceViews } from './views.js';

/** Instances themselves, under one of the three trees. */
export function instancesController(tree: Tree): new (...args: never[]) => object {
  const at = `/1.0/${tree}`;

  @Controller()
  class InstancesController {
    constructor(
      @Inject(REPLICA) private readonly replica: Replica,
      @Inject(MEMBERS) private readonly members: Members,
      @Inject(InstanceViews) private readonly views: InstanceViews,
      @Optional() @Inject(INSTANCE_TRANSFERS) private readonly transfers?: InstanceTransfers,
    ) {}

    @Route('GET', at, { access: 'project' })
    list(request: ApiRequest): Promise<Reply> {
      return this.views.list(request, tree);
    }

    @Route('POST', at, { access: 'project', body: 'json-or-bytes' })
    async create(request: ApiRequest): Promise<Reply> {
      if (request.headers['content-type'] === 'application/octet-stream') return this.#transfers.importBackup(request);
      const body = new Body(request.body);
      await this.replica.barrier();
      const { reader } = this.replica;
      if (request.target !== '' && !isClustered(reader)) throw fault.invalid('Target only allowed when clustered');
      project(reader, request.project);
      const { source, post } = wantedInstance(reader, request.project, tree, body, Math.random);
      if (source === 'copy' || source === 'migration') return this.#transfers.create(request, post);
      if (request.dryRun) return reply.dryRun([{ entity: 'instances', action: 'create', before: null, after: post }], ['the bytes of its root disk']);
      return operation(await this.#agent.createInstance({ project: request.project, post }, callContext(request)));
    }

    /** Start, stop … of all instances of a project for which it makes sense. */
    @Route('PUT', at, { access: 'project' })
    async actOnAll(request: ApiRequest): Promise<Reply> {
      const put = statePut(new Body(request.body).object('state'));
      return operation(await this.#agent.changeInstanceStates({ project: request.project, put }, callContext(request)));
    }

    @Route('GET', `${at}/:name`, { access: 'project' })
    async read(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const record = this.#named(request);
      const document = request.recursion > 0 ? await this.views.full(request, record) : this.views.plain(record);
      return reply.sync(document, etagOf(instanceEtag(record)));
    }

    @Route('PUT', `${at}/:name`, { access: 'project' })
    async replace(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const record = this.#named(request);
      const body = new Body(request.body);
      const put = { ...changeOf(body, { ...empty, architecture: record.architecture }), restore: body.string('restore') };
      if (request.dryRun) return this.#dryUpdate(request, put);
      const message = { instance: named(request), put, ifMatch: request.ifMatch ?? '' };
      return operation(await this.#agent.replaceInstance(message, callContext(request)));
    }

    @Route('PATCH', `${at}/:name`, { access: 'project' })
    async patch(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const record = this.#named(request);
      const body = new Body(request.body);
      const put = changeOf(body, record);
      put.config = { ...record.config, ...put.config };
      put.devices = { ...record.devices, ...put.devices };
      if (request.dryRun) return this.#dryUpdate(request, put);
      // Of two that patch at once, the second must not undo the first: what was merged is what may be replaced.
      const ifMatch = request.ifMatch ?? etagOf(instanceEtag(record));
      await this.#agent.patchInstance({ instance: named(request), put: { ...put }, ifMatch }, callContext(request));
      return reply.empty();
    }

    @Route('POST', `${at}/:name`, { access: 'project' })
    async rename(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const body = new Body(request.body);
      this.#named(request);
      if (body.boolean('migration') || body.string('pool') !== '' || body.string('project') !== '' || request.target !== '')
        return this.#transfers.move(request);
      const newName = body.string('name');
      const payload = { project: request.project, name: request.params.name!, newName };
      if (request.dryRun) return reply.dryRun((await this.replica.dryRun(renameInstance, payload, submitOptions(request))).would);
      return operation(await this.#agent.renameInstance({ instance: named(request), newName }, callContext(request)));
    }

    @Route('DELETE', `${at}/:name`, { access: 'project' })
    async remove(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const record = this.#named(request);
      if (isUp(record)) throw fault.invalid('Instance is running');
      if (request.dryRun) return reply.dryRun((await this.replica.dryRun(deleteInstance, { id: record.id }, submitOptions(request))).would);
      return operation(await this.#agent.deleteInstance(named(request), callContext(request)));
    }

    @Route('GET', `${at}/:name/state`, { access: 'project' })
    async state(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const record = this.#named(request);
      const { states } = await this.#agent.instanceStates({ ids: [record.id] }, callContext(request, true));
      const state = states[record.id];
      if (!state) throw fault.unavailable('Instance did not tell its state in time');
      return reply.sync(state);
    }

    @Route('PUT', `${at}/:name/state`, { access: 'project' })
    async act(request: ApiRequest): Promise<Reply> {
      const put = statePut(new Body(request.body));
      await this.replica.barrier();
      this.#named(request);
      if (request.dryRun) return reply.dryRun([], [`${put.action} of the instance`]);
      return operation(await this.#agent.changeInstanceState({ instance: named(request), put }, callContext(request)));
    }

    async #dryUpdate(request: ApiRequest, put: InstanceChange): Promise<Reply> {
      const payload = { ...named(request), put, ifMatch: request.ifMatch, byUser: true };
      return reply.dryRun((await this.replica.dryRun(updateInstance, payload, submitOptions(request))).would, ['what a running instance can take']);
    }

    /** @throws Fault notFound */
    #named(request: ApiRequest): InstanceRecord {
      return instance(this.replica.reader, request.project, request.params.name!);
    }

    get #agent(): Calls<typeof InstancesAgentService> {
      return this.members.calls(InstancesAgentService);
    }

    get #transfers(): InstanceTransfers {
      if (!this.transfers) throw fault.unsupported('Copies, moves and imports of instances are not served here');
      return this.transfers;
    }
  }
  return InstancesController;
}

const empty: InstanceChange = { architecture: '', description: '', ephemeral: false, config: {}, devices: {}, profiles: [], stateful: false };

/** InstancePut with what is missing taken from `fallback`. */
function changeOf(body: Body, fallback: InstanceChange): InstanceChange {
  return {
    architecture: body.string('architecture') || fallback.architecture,
    description: body.string('description', fallback.description),
    ephemeral: body.boolean('ephemeral', fallback.ephemeral),
    stateful: body.boolean('stateful', fallback.stateful),
    config: body.has('config') ? body.map('config') : fallback.config,
    devices: body.has('devices') ? body.maps('devices') : fallback.devices,
    profiles: body.has('profiles') ? body.strings('profiles') : fallback.profiles,
  };
}

/** @throws Fault invalid "Unknown action: 'x'" */
function statePut(body: Body): { action: string; timeout: number; force: boolean; stateful: boolean } {
  const action = body.string('action');
  if (!isAction(action)) throw fault.invalid(`Unknown action: '${action}'`);
  return { action, timeout: body.integer('timeout', -1), force: body.boolean('force'), stateful: body.boolean('stateful') };
}

export const named = (request: ApiRequest): { project: string; name: string } => ({ project: request.project, name: request.params.name! });
export const operation = ({ operation: document }: { operation?: { [key: string]: unknown } | undefined }): Reply =>
  reply.operation(document as unknown as Operation);
