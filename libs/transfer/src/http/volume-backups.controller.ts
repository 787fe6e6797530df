import { Controller, Inject } from '@nestjs/common';
import { apiUrl } from '#api-contract';
import { Body, callContext, list, MEMBERS, REPLICA, reply, Route, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { type BackupOwner, type Calls, type Members, TransferAgentService } from '#members';
import { effectiveProject } from '#projects/state';
import type { Replica } from '#replica';
import { pool, volume, type VolumeRecord } from '#storage/state';
import * as state from '../state/index.js';
import { volumeBackupDocument } from './documents.js';
import { backupRequest, exported } from './requests.js';

const at = '/1.0/storage-pools/:pool/volumes/:type/:name/backups';

/** Backups of custom volumes. */
@Controller()
export class VolumeBackupsController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
  ) {}

  @Route('GET', at, { access: 'project' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const of = this.#volume(request);
    return list(request, state.backups(this.replica.reader, 'volume', of.id), {
      url: (backup) => apiUrl(['storage-pools', of.pool, 'volumes', 'custom', of.name, 'backups', backup.name]),
      document: volumeBackupDocument,
    });
  }

  @Route('POST', at, { access: 'project' })
  async create(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const of = this.#volume(request);
    const wanted = backupRequest(this.replica.reader, of.project, new Body(request.body), ['volume_only']);
    if (request.dryRun)
      return reply.dryRun([{ entity: 'volume_backups', action: 'create', before: null, after: { ownerId: of.id, ...wanted } }], ['its file']);
    const { operation } = await this.#agent.createBackup({ owner: ownerOf(request, of), ...wanted }, callContext(request));
    return reply.operation(operation as never);
  }

  @Route('GET', `${at}/:backup`, { access: 'project' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    return reply.sync(volumeBackupDocument(this.#named(request)));
  }

  @Route('POST', `${at}/:backup`, { access: 'project' })
  async rename(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { name } = this.#named(request);
    const newName = new Body(request.body).string('name');
    if (request.dryRun) return reply.dryRun([], [`backup ${name} becomes ${newName}`]);
    const { operation } = await this.#agent.renameBackup({ owner: ownerOf(request, this.#volume(request)), name, newName }, callContext(request));
    return reply.operation(operation as never);
  }

  @Route('DELETE', `${at}/:backup`, { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { name } = this.#named(request);
    if (request.dryRun) return reply.dryRun([], [`the end of backup ${name}`]);
    const { operation } = await this.#agent.deleteBackup({ owner: ownerOf(request, this.#volume(request)), name }, callContext(request));
    return reply.operation(operation as never);
  }

  @Route('GET', `${at}/:backup/export`, { access: 'project' })
  async export(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { name } = this.#named(request);
    const owner = ownerOf(request, this.#volume(request));
    return exported(this.members, await this.#agent.exportBackup({ owner, name }, callContext(request, true)));
  }

  /** @throws Fault invalid, notFound */
  #volume(request: ApiRequest): VolumeRecord {
    const type = request.params.type!;
    if (type !== 'custom') throw fault.invalid(`Invalid storage volume type "${type}"`);
    const { reader } = this.replica;
    const { name } = pool(reader, request.params.pool!);
    return volume(reader, {
      pool: name,
      project: effectiveProject(reader, request.project, 'features.storage.volumes'),
      type,
      name: request.params.name!,
    });
  }

  #named(request: ApiRequest): state.BackupRecord {
    return state.backup(this.replica.reader, 'volume', this.#volume(request).id, request.params.backup!);
  }

  get #agent(): Calls<typeof TransferAgentService> {
    return this.members.calls(TransferAgentService);
  }
}

const ownerOf = (request: ApiRequest, { pool: poolName, project, type, name }: VolumeRecord): BackupOwner => ({
  project,
  instance: '',
  volume: { pool: poolName, project, type, name },
  requestProject: request.project,
});
