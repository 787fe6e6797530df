import { Controller, Inject } from '@nestjs/common';
import { apiUrl } from '#api-contract';
import { Body, callContext, list, MEMBERS, REPLICA, reply, Route, type ApiRequest, type Reply } from '#http-kit';
import { instance } from '#instances/state';
import { type BackupOwner, type Calls, type Members, TransferAgentService } from '#members';
import type { Replica } from '#replica';
import * as state from '../state/index.js';
import { backupDocument } from './documents.js';
import { backupRequest, exported } from './requests.js';

/** The trees under which LXD shows instances. */
const trees = ['instances', 'containers', 'virtual-machines'] as const;

/** Backups of instances, under one of the three trees. */
function instanceBackupsController(tree: (typeof trees)[number]): new (...args: never[]) => object {
  const at = `/1.0/${tree}/:name/backups`;

  @Controller()
  class InstanceBackupsController {
    constructor(
      @Inject(REPLICA) private readonly replica: Replica,
      @Inject(MEMBERS) private readonly members: Members,
    ) {}

    @Route('GET', at, { access: 'project' })
    async list(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const { reader } = this.replica;
      const name = request.params.name!;
      return list(request, state.backups(reader, 'instance', this.#id(request)), {
        // LXD names this tree whatever was asked, and leaves ?project= out.
        url: (backup) => apiUrl(['instances', name, 'backups', backup.name]),
        document: backupDocument,
      });
    }

    @Route('POST', at, { access: 'project' })
    async create(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const ownerId = this.#id(request);
      const wanted = backupRequest(this.replica.reader, request.project, new Body(request.body), ['instance_only', 'container_only']);
      if (request.dryRun)
        return reply.dryRun([{ entity: 'instance_backups', action: 'create', before: null, after: { ownerId, ...wanted } }], ['its file']);
      return operation(await this.#agent.createBackup({ owner: ownerOf(request), ...wanted }, callContext(request)));
    }

    @Route('GET', `${at}/:backup`, { access: 'project' })
    async read(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      return reply.sync(backupDocument(this.#named(request)));
    }

    @Route('POST', `${at}/:backup`, { access: 'project' })
    async rename(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const { name } = this.#named(request);
      const newName = new Body(request.body).string('name');
      if (request.dryRun) return reply.dryRun([], [`backup ${name} becomes ${newName}`]);
      return operation(await this.#agent.renameBackup({ owner: ownerOf(request), name, newName }, callContext(request)));
    }

    @Route('DELETE', `${at}/:backup`, { access: 'project' })
    async remove(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const { name } = this.#named(request);
      if (request.dryRun) return reply.dryRun([], [`the end of backup ${name}`]);
      return operation(await this.#agent.deleteBackup({ owner: ownerOf(request), name }, callContext(request)));
    }

    @Route('GET', `${at}/:backup/export`, { access: 'project' })
    async export(request: ApiRequest): Promise<Reply> {
      await this.replica.barrier();
      const { name } = this.#named(request);
      return exported(this.members, await this.#agent.exportBackup({ owner: ownerOf(request), name }, callContext(request, true)));
    }

    #id(request: ApiRequest): number {
      return instance(this.replica.reader, request.project, request.params.name!).id;
    }

    #named(request: ApiRequest): state.BackupRecord {
      return state.backup(this.replica.reader, 'instance', this.#id(request), request.params.backup!);
    }

    get #agent(): Calls<typeof TransferAgentService> {
      return this.members.calls(TransferAgentService);
    }
  }
  return InstanceBackupsController;
}

const ownerOf = (request: ApiRequest): BackupOwner => ({
  project: request.project,
  instance: request.params.name!,
  requestProject: request.project,
  volume: undefined,
});

const operation = ({ operation: document }: { operation?: { [key: string]: unknown } | undefined }): Reply => reply.operation(document as never);

export const instanceBackupsControllers = trees.map(instanceBackupsController);
