import { Controller, Inject, Optional } from '@nestjs/common';
import { apiUrl, etagOf, zeroTime } from '#api-contract';
import {
  Body,
  MEMBERS,
  OPERATIONS,
  REPLICA,
  Route,
  callContext,
  list,
  reply,
  submitOptions,
  writeAsOperation,
  type ApiRequest,
  type OperationStarter,
  type Reply,
} from '#http-kit';
import { fault } from '#kit';
import { InstancesAgentService, type Calls, type Members } from '#members';
import type { Replica } from '#replica';
import {
  deleteSnapshot,
  instance,
  renameSnapshot,
  snapshot,
  snapshotEtag,
  snapshots,
  updateSnapshot,
  type InstanceRecord,
  type SnapshotRecord,
} from '../state/index.js';
import { snapshotDocument } from './documents.js';
import { named, operation } from './instances.controller.js';
import { INSTANCE_TRANSFERS, type InstanceTransfers } from './ports.js';
import type { Tree } from './trees.js';

/** Snapshots of an instance. Going back to one is a PUT of the instance. */
export function snapshotsController(tree: Tree): new (...args: never[]) => object {
  const at = `/1.0/${tree}/:name/snapshots`;

  @Controller()
  class SnapshotsController {
    constructor(
      @Inject(REPLICA) private readonly replica: Replica,
      @Inject(MEMBERS) private readonly members: Members,
      @Inject(OPERATIONS) private readonly operations: OperationStarter,
      @Optional() @Inject(INSTANCE_TRANSFERS) private readonly transfers?: InstanceTransfers,
    ) {}

    @Route('GET', at, { access: 'project' })
    async list(request: ApiRequest): Promise<Reply> {
      const of = await this.#parent(request);
      return list(request, snapshots(this.replica.reader, of.id), {
        url: ({ name }) => apiUrl([tree, of.name, 'snapshots', name], of.project),
        document: (record) => snapshotDocument(record, of),
      });
    }

    @Route('POST', at, { access: 'project' })
    async create(request: ApiRequest): Promise<Reply> {
      const body = new Body(request.body);
      await this.#parent(request);
      const expiresAt = body.has('expires_at') ? timeOf(body.string('expires_at')) : undefined;
      const message = { instance: named(request), name: body.string('name'), stateful: body.boolean('stateful'), expiresAt };
      if (request.dryRun) return reply.dryRun([], ['the snapshot on disk']);
      return operation(await this.#agent.createInstanceSnapshot(message, callContext(request)));
    }

    @Route('GET', `${at}/:snapshot`, { access: 'project' })
    async read(request: ApiRequest): Promise<Reply> {
      const of = await this.#parent(request);
      const record = this.#named(request, of);
      return reply.sync(snapshotDocument(record, of), etagOf(snapshotEtag(record)));
    }

    @Route('PUT', `${at}/:snapshot`, { access: 'project' })
    replace(request: ApiRequest): Promise<Reply> {
      return this.#update(request);
    }

    @Route('PATCH', `${at}/:snapshot`, { access: 'project' })
    patch(request: ApiRequest): Promise<Reply> {
      return this.#update(request);
    }

    @Route('POST', `${at}/:snapshot`, { access: 'project' })
    async rename(request: ApiRequest): Promise<Reply> {
      const body = new Body(request.body);
      this.#named(request, await this.#parent(request));
      if (body.boolean('migration')) {
        if (!this.transfers) throw fault.unsupported('Migrations of instances are not served here');
        return this.transfers.sendSnapshot(request);
      }
      const newName = body.string('name');
      if (newName.includes('/')) throw fault.invalid(`Invalid new snapshot name: Snapshot names may not contain slashes`);
      const name = request.params.snapshot!;
      const payload = { project: request.project, instance: request.params.name!, name, newName };
      if (request.dryRun) return reply.dryRun((await this.replica.dryRun(renameSnapshot, payload, submitOptions(request))).would);
      return operation(await this.#agent.renameInstanceSnapshot({ instance: named(request), name, newName }, callContext(request)));
    }

    @Route('DELETE', `${at}/:snapshot`, { access: 'project' })
    async remove(request: ApiRequest): Promise<Reply> {
      this.#named(request, await this.#parent(request));
      const name = request.params.snapshot!;
      if (request.dryRun) {
        const payload = { project: request.project, instance: request.params.name!, name };
        return reply.dryRun((await this.replica.dryRun(deleteSnapshot, payload, submitOptions(request))).would);
      }
      return operation(await this.#agent.deleteInstanceSnapshot({ instance: named(request), name }, callContext(request)));
    }

    async #update(request: ApiRequest): Promise<Reply> {
      const of = await this.#parent(request);
      const record = this.#named(request, of);
      const body = new Body(request.body);
      const expiresAt = body.has('expires_at') ? timeOf(body.string('expires_at')) : record.expiresAt;
      const payload = { project: of.project, instance: of.name, name: record.name, expiresAt, ifMatch: request.ifMatch };
      const resources = {
        instances: [apiUrl(['instances', of.name])],
        instances_snapshots: [apiUrl(['instances', of.name, 'snapshots', record.name])],
      };
      return writeAsOperation({ replica: this.replica, operations: this.operations }, request, updateSnapshot, payload, {
        description: 'Updating snapshot',
        project: of.project,
        resources,
      });
    }

    async #parent(request: ApiRequest): Promise<InstanceRecord> {
      await this.replica.barrier();
      return instance(this.replica.reader, request.project, request.params.name!);
    }

    /** @throws Fault notFound */
    #named(request: ApiRequest, of: InstanceRecord): SnapshotRecord {
      return snapshot(this.replica.reader, of.id, request.params.snapshot!);
    }

    get #agent(): Calls<typeof InstancesAgentService> {
      return this.members.calls(InstancesAgentService);
    }
  }
  return SnapshotsController;
}

/** RFC 3339; the zero time is never, ''. @throws Fault invalid */
function timeOf(text: string): string {
  if (text === '' || text === zeroTime) return '';
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw fault.invalid(`Invalid time: ${text.slice(0, 64)}`);
  return time.getTime() <= 0 ? '' : time.toISOString();
}
