import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf } from '#api-contract';
import { isClustered, members as clusterMembers } from '#cluster/state';
import { Body, callContext, list, MEMBERS, REPLICA, reply, Route, SERVER, submitOptions, write, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { type Calls, type Members, type ServerInfo, StorageAgentService } from '#members';
import type { Replica } from '#replica';
import { checkPoolConfig, checkPoolName, offeredDrivers } from '../model/index.js';
import {
  beginPoolRemoval,
  configOn,
  definePendingPool,
  definePool,
  pool,
  poolErrored,
  settlePool,
  poolEtag,
  pools,
  updatePool,
  type PoolRecord,
} from '../state/index.js';
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
      document: (record) => poolDocument(reader, record, this.server, request.caller, unavailable, this.#specific(request)),
    });
  }

  @Route('POST', '/1.0/storage-pools', { access: 'admin' })
  async create(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const [name, driver, description, config] = [body.string('name'), body.string('driver'), body.string('description'), body.map('config')];
    checkPoolName(name);
    if (driver === '') throw fault.invalid('No driver provided');
    if (!offeredDrivers.includes(driver)) throw fault.invalid(`Unknown storage driver "${driver}"`);
    const clustered = isClustered(this.replica.reader);
    if (request.target !== '' && !clustered) throw fault.invalid('Target only allowed when clustered');
    if (clustered) return this.#createInCluster(request, { name, driver, description, config });
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
    const document = poolDocument(
      this.replica.reader,
      record,
      this.server,
      request.caller,
      await this.#unavailable(request),
      this.#specific(request),
    );
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
    const record = this.#named(request);
    const { name } = record;
    if (request.dryRun) return reply.dryRun((await this.replica.dryRun(beginPoolRemoval, { name }, submitOptions(request))).would);
    await this.#leaveElsewhere(request, record);
    await this.#agent.deletePool({ pool: name }, callContext(request));
    return reply.empty();
  }

  @Route('GET', '/1.0/storage-pools/:name/resources', { access: 'trusted' })
  async resources(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { name } = this.#named(request);
    return reply.sync((await this.#agent.poolResources({ pool: name }, callContext(request, true))).document);
  }

  /** With a target one member's keys are noted; without one everybody makes its part, and what fails can be tried again. */
  async #createInCluster(
    request: ApiRequest,
    given: { name: string; driver: string; description: string; config: Record<string, string> },
  ): Promise<Reply> {
    const { name, driver, config } = given;
    const created = (): Reply => reply.created(apiUrl(['storage-pools', name]));
    if (request.target !== '') {
      return write(this.replica, request, definePendingPool, { name, driver, config, memberId: this.server.memberId }, created);
    }
    const everybody = clusterMembers(this.replica.reader);
    const settled = { ...given, members: everybody.map(({ id, name: member }) => ({ id, name: member })) };
    return write(this.replica, request, settlePool, settled, async () => {
      const asked = everybody.map(({ name: member }) =>
        this.members.calls(StorageAgentService, member).makePool({ pool: name }, callContext(request)),
      );
      const failed = (await Promise.allSettled(asked)).find((answer) => answer.status === 'rejected');
      if (!failed) return created();
      await this.replica.submit(poolErrored, { name }, submitOptions(request));
      throw failed.reason;
    });
  }

  /** The parts of the other members. While one is away nothing goes: it would come back with what nobody knows any more. */
  async #leaveElsewhere(request: ApiRequest, record: PoolRecord): Promise<void> {
    const { memberId } = this.server;
    const others = clusterMembers(this.replica.reader).filter(({ id }) => id !== memberId && record.members.some((one) => one.memberId === id));
    const alive = new Set(this.members.others());
    const away = others.find((member) => !alive.has(member.name));
    if (away) throw fault.unavailable(`Cluster member "${away.name}" is offline`);
    await this.replica.dryRun(beginPoolRemoval, { name: record.name }, submitOptions(request));
    await Promise.all(
      others.map((member) => this.members.calls(StorageAgentService, member.name).leavePool({ pool: record.name }, callContext(request))),
    );
  }

  /** Whether the keys that each member has for itself are meant: always where there is only one. */
  #specific({ target }: ApiRequest): boolean {
    return target !== '' || !isClustered(this.replica.reader);
  }

  async #update(request: ApiRequest, given: { description: string; config: Record<string, string> }): Promise<Reply> {
    const record = this.#named(request);
    const { name } = record;
    const own = record.members.find(({ memberId }) => memberId === this.server.memberId)?.config ?? {};
    // Keys of this member that were not shown are not meant to go.
    const put = this.#specific(request) ? given : { ...given, config: { ...own, ...given.config } };
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
