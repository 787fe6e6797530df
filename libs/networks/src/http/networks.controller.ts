import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf, type ConfigMap, type Network } from '#api-contract';
import { memberName, members as clusterMembers } from '#cluster/state';
import {
  Body,
  callContext,
  list,
  mayTouch,
  MEMBERS,
  REPLICA,
  reply,
  Route,
  SERVER,
  submitOptions,
  write,
  type ApiRequest,
  type Caller,
  type Reply,
} from '#http-kit';
import { fault } from '#kit';
import { NetworksAgentService, type Calls, type Members, type ServerInfo } from '#members';
import { effectiveProject, targetOf, usedBy } from '#projects/state';
import type { Replica } from '#replica';
import { checks, isNetworkType } from '../model/index.js';
import {
  createNetwork,
  deleteNetwork,
  findNetwork,
  network,
  networkEtag,
  networkOn,
  networks,
  networkStatus,
  renameNetwork,
  updateNetwork,
  type NetworkPut,
  type NetworkRecord,
} from '../state/index.js';

/** A network as lists and reads show it: a managed one, or an interface of the host that nobody manages. */
type Shown = { record: NetworkRecord } | { name: string; type: string };

@Controller()
export class NetworksController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
  ) {}

  @Route('GET', '/1.0/networks', { access: 'project' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = this.#project(request);
    const shown: Shown[] = networks(this.replica.reader, project).map((record) => ({ record }));
    if (project === 'default') {
      const { interfaces } = await this.#agent.listInterfaces({}, callContext(request, true));
      const managed = new Set(shown.map(nameOf));
      shown.push(...interfaces.filter(({ name }) => !managed.has(name)));
    }
    return list(request, shown, {
      url: (item) => apiUrl(['networks', nameOf(item)], project),
      document: (item) => this.#document(item, project, request.caller),
    });
  }

  @Route('POST', '/1.0/networks', { access: 'project' })
  async create(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const project = this.#changeable(request);
    const name = body.string('name');
    const type = body.string('type') || (project === 'default' ? 'bridge' : 'ovn');
    if (name === '') throw fault.invalid('No name provided');
    if (!isNetworkType(type)) throw fault.invalid(`Network type "${type}" is not supported`);
    if (request.target !== '') throw fault.invalid('Target only allowed when clustered');
    checks.networkName(name);
    await this.replica.barrier();
    if (findNetwork(this.replica.reader, project, name)) throw fault.invalid('The network already exists');
    const context = callContext(request);
    const { config } = await this.#agent.fillNetwork({ type, config: body.map('config'), onlyAuto: false }, context);
    const payload = { project, name, type, description: body.string('description'), config: { ...config }, members: this.#everybody() };
    await this.#agent.checkNetwork({ id: 0, project, name, type, config }, context);
    return write(this.replica, request, createNetwork, payload, async ({ id }) => {
      try {
        await this.#agent.applyNetwork({ id }, context);
      } catch (error) {
        // It never was: nobody can have begun to use what is pending.
        await this.replica.submit(deleteNetwork, { project, name }, submitOptions(request));
        await this.#agent.removeNetwork({ id, project, name, type, config }, context);
        throw error;
      }
      return reply.created(apiUrl(['networks', name], project));
    });
  }

  @Route('GET', '/1.0/networks/:name', { access: 'project' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = this.#project(request);
    const shown = await this.#shown(request, project);
    const document = this.#document(shown, project, request.caller);
    const { name, type, description, config, managed } = document;
    return reply.sync(document, etagOf(networkEtag({ name, type, description, config }, managed)));
  }

  @Route('PUT', '/1.0/networks/:name', { access: 'project' })
  async replace(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    return this.#update(request, { description: body.string('description'), config: body.map('config') });
  }

  @Route('PATCH', '/1.0/networks/:name', { access: 'project' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const current = network(this.replica.reader, this.#changeable(request), request.params.name!);
    const config = { ...this.#config(current), ...body.map('config') };
    return this.#update(request, { description: body.string('description', current.description), config });
  }

  @Route('POST', '/1.0/networks/:name', { access: 'project' })
  async rename(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = this.#changeable(request);
    const current = network(this.replica.reader, project, request.params.name!);
    const newName = new Body(request.body).string('name');
    const context = callContext(request);
    return write(this.replica, request, renameNetwork, { project, name: current.name, newName }, async () => {
      try {
        await this.#agent.renameNetwork({ network: { ...this.#message(current) }, newName }, context);
      } catch (error) {
        await this.replica.submit(renameNetwork, { project, name: newName, newName: current.name }, submitOptions(request));
        throw error;
      }
      return reply.created(apiUrl(['networks', newName], project));
    });
  }

  @Route('DELETE', '/1.0/networks/:name', { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = this.#changeable(request);
    const current = network(this.replica.reader, project, request.params.name!);
    return write(this.replica, request, deleteNetwork, { project, name: current.name }, async () => {
      // The row is gone: what a failure leaves on the host, the agent sweeps up.
      await this.#agent.removeNetwork(this.#message(current), callContext(request));
      return reply.empty();
    });
  }

  @Route('GET', '/1.0/networks/:name/state', { access: 'project' })
  async state(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const project = this.#project(request);
    const shown = await this.#shown(request, project);
    const id = 'record' in shown ? shown.record.id : 0;
    const { state } = await this.#agent.networkState({ id, name: nameOf(shown) }, callContext(request, true));
    return reply.sync(state);
  }

  @Route('GET', '/1.0/networks/:name/leases', { access: 'project' })
  async leases(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { id } = network(this.replica.reader, this.#project(request), request.params.name!);
    const { leases } = await this.#agent.networkLeases({ id, project: request.project }, callContext(request, true));
    return reply.sync(leases);
  }

  async #update(request: ApiRequest, put: NetworkPut): Promise<Reply> {
    const project = this.#changeable(request);
    const before = network(this.replica.reader, project, request.params.name!);
    const { id, name, type } = before;
    const context = callContext(request);
    const { config } = await this.#agent.fillNetwork({ type, config: put.config, onlyAuto: true }, context);
    const member = this.server.memberId;
    const payload = { project, name, put: { description: put.description, config: { ...config } }, member };
    return write(this.replica, request, updateNetwork, { ...payload, ifMatch: request.ifMatch }, async () => {
      try {
        await this.#agent.applyNetwork({ id }, context);
      } catch (error) {
        const put = { description: before.description, config: this.#config(before) };
        await this.replica.submit(updateNetwork, { project, name, put, member }, submitOptions(request));
        await this.#agent.applyNetwork({ id }, context);
        throw error;
      }
      return reply.empty();
    });
  }

  get #agent(): Calls<NetworksAgentService> {
    return this.members.calls(NetworksAgentService);
  }

  /** A network is for all members: each makes it by itself, as soon as it sees it. */
  #everybody(): number[] {
    const ids = clusterMembers(this.replica.reader).map(({ id }) => id);
    return ids.length > 0 ? ids : [this.server.memberId];
  }

  #project(request: ApiRequest): string {
    return effectiveProject(this.replica.reader, request.project, 'features.networks');
  }

  /** The project whose networks a caller may change: a restricted one not those that its project only shares. @throws Fault forbidden */
  #changeable(request: ApiRequest): string {
    const project = this.#project(request);
    if (!mayTouch(request.caller, project)) throw fault.forbidden('not authorized');
    return project;
  }

  /** @throws Fault notFound */
  async #shown(request: ApiRequest, project: string): Promise<Shown> {
    const name = request.params.name!;
    const record = findNetwork(this.replica.reader, project, name);
    if (record) return { record };
    const { interfaces } = project === 'default' ? await this.#agent.listInterfaces({}, callContext(request, true)) : { interfaces: [] };
    const found = interfaces.find((item) => item.name === name);
    if (!found) throw fault.notFound('Network not found');
    return found;
  }

  /** With this member's own values, as LXD shows them while it stands alone. */
  #config(record: NetworkRecord): ConfigMap {
    return networkOn(record, this.server.memberId)?.config ?? record.config;
  }

  #message(record: NetworkRecord): { id: number; project: string; name: string; type: string; config: ConfigMap } {
    const { id, project, name, type } = record;
    return { id, project, name, type, config: this.#config(record) };
  }

  #document(item: Shown, project: string, caller: Caller): Network {
    const name = nameOf(item);
    const users = usedBy(this.replica.reader, targetOf('network', project, name)).filter((url) => mayTouch(caller, projectOf(url)));
    if (!('record' in item)) {
      const used_by = item.type === 'loopback' ? [] : users.length > 0 ? users : null;
      return { config: {}, description: '', name, type: item.type, used_by, managed: false, status: '', locations: null };
    }
    const { record } = item;
    return {
      // Routes, addresses and raw.dnsmasq of the host are for those who manage it.
      config: caller.admin ? this.#config(record) : {},
      description: record.description,
      name,
      type: record.type,
      used_by: users,
      managed: true,
      status: networkStatus(record),
      locations: [...record.members.keys()].map((id) => memberName(this.replica.reader, id)),
    };
  }
}

const nameOf = (item: Shown): string => ('record' in item ? item.record.name : item.name);

const projectOf = (url: string): string => new URL(url, 'http://unix').searchParams.get('project') ?? 'default';
