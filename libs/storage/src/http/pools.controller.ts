import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf } from '#api-contract';
import { Body, callContext, list, MEMBERS, REPLICA, reply, Route, SERVER, submitOptions, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { type Calls, type Members, type ServerInfo, StorageAgentService } from '#members';
import type { Replica } from '#replica';
import { checkPoolConfig, checkPoolName, offeredDrivers } from '../model/index.js';
import { beginPoolRemoval, configOn, definePool, pool, poolEtag, pools, updatePool, type PoolRecord } from '../state/index.js';
import { poolDocument } from './documents.js';

@Controller()
export class PoolsController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
  ) {}

  @Route('GET', '/1.0/storage-pools', { access: 'trusted' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { reader } = this.replica;
    const unavailable = request.recursion > 0 ? await this.#unavailable(request) : [];
    return list(request, pools(reader), {
      url: ({ name }) => apiUrl(['storage-pools', name]),
      document: (record) => poolDocument(reader, record, this.server, request.caller, unavailable),
    });
  }

  @Route('POST', '/1.0/storage-pools', { access: 'admin' })
  async create(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const [name, driver, description, config] = [body.string('name'), body.string('driver'), body.string('description'), body.map('config')];
    checkPoolName(name);
    if (driver === '') throw fault.invalid('No driver provided');
    if (!offeredDrivers.includes(driver)) throw fault.invalid(`Unknown storage driver "${driver}"`);
    if (request.target !== '') throw fault.invalid('Target only allowed when clustered');
    checkPoolConfig(driver, config);
    if (request.dryRun) {
      const { would } = await this.replica.dryRun(
        definePool,
        { name, driver, description, config, memberId: this.server.memberId },
        submitOptions(request),
      );
      return reply.dryRun(would, ['whether the source can be used']);
    }
    await this.#agent.createPool({ name, driver, description, config }, callContext(request));
    return reply.created(apiUrl(['storage-pools', name]));
  }

  @Route('GET', '/1.0/storage-pools/:name', { access: 'trusted' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const record = this.#named(request);
    const document = poolDocument(this.replica.reader, record, this.server, request.caller, await this.#unavailable(request));
    return reply.sync(document, etagOf(poolEtag(record, configOn(record, this.server.memberId))));
  }

  @Route('PUT', '/1.0/storage-pools/:name', { access: 'admin' })
  async replace(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    return this.#update(request, { description: body.string('description'), config: body.map('config') });
  }

  @Route('PATCH', '/1.0/storage-pools/:name', { access: 'admin' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const record = this.#named(request);
    const config = { ...configOn(record, this.server.memberId), ...body.map('config') };
    return this.#update(request, { description: body.string('description', record.description), config });
  }

  @Route('DELETE', '/1.0/storage-pools/:name', { access: 'admin' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { name } = this.#named(request);
    if (request.dryRun) return reply.dryRun((await this.replica.dryRun(beginPoolRemoval, { name }, submitOptions(request))).would);
    await this.#agent.deletePool({ pool: name }, callContext(request));
    return reply.empty();
  }

  @Route('GET', '/1.0/storage-pools/:name/resources', { access: 'trusted' })
  async resources(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { name } = this.#named(request);
    return reply.sync((await this.#agent.poolResources({ pool: name }, callContext(request, true))).document);
  }

  async #update(request: ApiRequest, put: { description: string; config: Record<string, string> }): Promise<Reply> {
    const { name } = this.#named(request);
    if (request.dryRun) {
      const payload = { name, put, memberId: this.server.memberId, ifMatch: request.ifMatch };
      return reply.dryRun((await this.replica.dryRun(updatePool, payload, submitOptions(request))).would);
    }
    await this.#agent.updatePool({ name, ...put, ifMatch: request.ifMatch ?? '' }, callContext(request));
    return reply.empty();
  }

  #named(request: ApiRequest): PoolRecord {
    return pool(this.replica.reader, request.params.name!);
  }

  async #unavailable(request: ApiRequest): Promise<string[]> {
    return (await this.#agent.storageStatus({}, callContext(request, true))).unavailable;
  }

  get #agent(): Calls<typeof StorageAgentService> {
    return this.members.calls(StorageAgentService);
  }
}
