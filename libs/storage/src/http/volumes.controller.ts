import { Controller, Inject, Optional } from '@nestjs/common';
import { etagOf } from '#api-contract';
import {
  Body,
  callContext,
  list,
  MEMBERS,
  mayTouch,
  REPLICA,
  reply,
  Route,
  SERVER,
  submitOptions,
  write,
  type ApiRequest,
  type Reply,
} from '#http-kit';
import { fault } from '#kit';
import { type Calls, type Members, type ServerInfo, StorageAgentService } from '#members';
import { effectiveProject, project, targetOf, usedBy } from '#projects/state';
import type { Replica } from '#replica';
import { checkVolumeName, isInstanceVolume, parseContentType, parseVolumeType, type VolumeRef, type VolumeType } from '../model/index.js';
import * as state from '../state/index.js';
import { addressed, volumeProject } from './addressed.js';
import { messageOf, volumeDocument } from './documents.js';
import { VOLUME_TRANSFERS, type VolumeTransfers } from './ports.js';

interface Listed {
  volume: state.VolumeRecord;
  snapshot?: state.SnapshotRecord;
}

@Controller()
export class VolumesController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
    @Inject(SERVER) private readonly server: ServerInfo,
    @Optional() @Inject(VOLUME_TRANSFERS) private readonly transfers?: VolumeTransfers,
  ) {}

  @Route('GET', '/1.0/storage-pools/:pool/volumes', { access: 'project' })
  list(request: ApiRequest): Promise<Reply> {
    return this.#list(request);
  }

  @Route('GET', '/1.0/storage-pools/:pool/volumes/:type', { access: 'project' })
  listType(request: ApiRequest): Promise<Reply> {
    return this.#list(request, parseVolumeType(request.params.type!));
  }

  @Route('POST', '/1.0/storage-pools/:pool/volumes', { access: 'project' })
  create(request: ApiRequest): Promise<Reply> {
    const type = new Body(request.body).string('type');
    if (type === '') throw fault.invalid('You must provide a storage volume type of the storage volume');
    return this.#create(request, type);
  }

  @Route('POST', '/1.0/storage-pools/:pool/volumes/:type', { access: 'project', body: 'json-or-bytes' })
  async createType(request: ApiRequest): Promise<Reply> {
    const type = request.params.type!;
    if (request.headers['content-type'] !== 'application/octet-stream') return this.#create(request, type);
    if (type !== 'custom') throw fault.invalid(`Currently not allowed to create storage volumes of type "${type}"`);
    await this.replica.barrier();
    const { reader } = this.replica;
    const name = String(request.headers['x-lxd-name'] ?? '');
    if (name !== '') checkVolumeName(name);
    return this.#transfers.importBackup(request, {
      pool: state.pool(reader, request.params.pool!).name,
      project: volumeProject(reader, request.project, 'custom'),
      type,
      name,
    });
  }

  @Route('GET', '/1.0/storage-pools/:pool/volumes/:type/:name', { access: 'project' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const record = this.#named(request);
    return reply.sync(volumeDocument(this.replica.reader, record, this.server, request.caller), etagOf(state.volumeEtag(record)));
  }

  @Route('PUT', '/1.0/storage-pools/:pool/volumes/:type/:name', { access: 'project' })
  async replace(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const put = { description: body.string('description'), config: body.map('config') };
    return this.#change(request, put, { restore: body.string('restore'), hasConfig: body.has('config') });
  }

  @Route('PATCH', '/1.0/storage-pools/:pool/volumes/:type/:name', { access: 'project' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const record = this.#named(request);
    if (record.type !== 'custom') throw fault.invalid(`Invalid storage volume type "${record.type}"`);
    const put = { description: body.string('description', record.description), config: { ...record.config, ...body.map('config') } };
    return this.#change(request, put, { restore: '', hasConfig: true });
  }

  @Route('POST', '/1.0/storage-pools/:pool/volumes/:type/:name', { access: 'project' })
  async act(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const newName = body.string('name');
    if (request.params.type !== 'custom') throw fault.invalid(`Renaming storage volumes of type "${request.params.type}" is not allowed`);
    if (body.boolean('migration')) return this.#transfers.send(request, this.#named(request));
    checkVolumeName(newName);
    const record = this.#named(request);
    const from = messageOf(record);
    const target: VolumeRef = { ...from, type: 'custom', name: newName, pool: body.string('pool') || record.pool };
    if (body.string('project')) target.project = this.#otherProject(request, body.string('project'));
    state.pool(this.replica.reader, target.pool);
    if (state.findVolume(this.replica.reader, target, this.server.memberId)) throw fault.conflict('Volume by that name already exists');
    const isRename = target.pool === record.pool && target.project === record.project;
    if (request.dryRun) {
      const command = { volume: record, newName, memberId: this.server.memberId };
      if (isRename) return reply.dryRun((await this.replica.dryRun(state.renameCustomVolume, command, submitOptions(request))).would);
      return this.#dryRun(request, { ...target, memberId: this.server.memberId, description: record.description, config: record.config });
    }
    const context = callContext(request);
    if (isRename) {
      await this.#agent.renameVolume({ volume: from, newName }, context);
      return reply.created(state.volumeUrl(target));
    }
    const { operation } = await this.#agent.moveVolume({ volume: from, target: messageOf(target), requestProject: request.project }, context);
    return reply.operation(operation as never);
  }

  @Route('DELETE', '/1.0/storage-pools/:pool/volumes/:type/:name', { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const ref = addressed(this.replica.reader, request);
    if (isInstanceVolume(ref.type)) throw fault.invalid(`Storage volumes of type "${ref.type}" cannot be deleted with the storage API`);
    const record = this.#named(request);
    const users = state.volumeUsedBy(this.replica.reader, record);
    if (users.length > 0 && !(record.type === 'image' && users.length === 1)) throw fault.invalid('The storage volume is still in use');
    if (request.dryRun) {
      const payload = { volume: ref, memberId: record.memberId };
      return reply.dryRun((await this.replica.dryRun(state.deleteVolume, payload, submitOptions(request))).would);
    }
    await this.#agent.deleteVolume(messageOf(record), callContext(request));
    return reply.empty();
  }

  @Route('GET', '/1.0/storage-pools/:pool/volumes/:type/:name/state', { access: 'project' })
  async state(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const ref = addressed(this.replica.reader, request);
    if (ref.type === 'image') throw fault.invalid(`Invalid storage volume type "${ref.type}"`);
    return reply.sync((await this.#agent.volumeState(messageOf(this.#named(request)), callContext(request, true))).document);
  }

  async #list(request: ApiRequest, type?: VolumeType): Promise<Reply> {
    await this.replica.barrier();
    const { reader } = this.replica;
    const record = state.pool(reader, request.params.pool!);
    const items: Listed[] = [];
    for (const volume of state.volumesIn(reader, record, { type })) {
      if (!this.#listed(request, volume)) continue;
      items.push({ volume });
      for (const snapshot of state.volumeSnapshots(reader, volume.id)) items.push({ volume, snapshot });
    }
    return list(request, items, {
      url: ({ volume, snapshot }) => state.volumeUrl(volume, snapshot?.name),
      document: ({ volume, snapshot }) => volumeDocument(reader, volume, this.server, request.caller, snapshot),
    });
  }

  /** Whether a volume belongs to what the request asks for. */
  #listed(request: ApiRequest, volume: state.VolumeRecord): boolean {
    const { reader } = this.replica;
    if (request.allProjects) return volume.type === 'image' ? request.caller.admin : mayTouch(request.caller, volume.project);
    if (volume.type !== 'image') return volume.project === volumeProject(reader, request.project, volume.type);
    const images = effectiveProject(reader, request.project, 'features.images');
    return usedBy(reader, targetOf('image', volume.name)).includes(`/1.0/images/${volume.name}${images === 'default' ? '' : `?project=${images}`}`);
  }

  async #create(request: ApiRequest, type: string): Promise<Reply> {
    await this.replica.barrier();
    const { reader } = this.replica;
    const body = new Body(request.body);
    const name = body.string('name');
    if (name === '') throw fault.invalid('No name provided');
    checkVolumeName(name);
    const contentType = parseContentType(body.string('content_type'));
    if (type !== 'custom') throw fault.invalid(`Currently not allowed to create storage volumes of type "${type}"`);
    // A copy names the member of its source: `none` where there is but one.
    if (request.target !== '' && request.target !== this.server.memberName()) throw fault.invalid('Target only allowed when clustered');
    const pool = state.pool(reader, request.params.pool!);
    const ref: VolumeRef = { pool: pool.name, project: volumeProject(reader, request.project, 'custom'), type, name };
    const source = body.object('source');
    const refresh = source.boolean('refresh');
    const exists = state.findVolume(reader, ref, this.server.memberId) !== undefined;
    if (exists && !refresh) throw fault.conflict('Volume by that name already exists');
    const [description, config] = [body.string('description'), body.map('config')];
    const context = callContext(request);
    switch (source.string('type')) {
      case '':
      case 'copy': {
        if (source.string('name') === '' && refresh && exists) throw fault.invalid('No source volume name supplied');
        if (request.dryRun) return this.#dryRun(request, { ...ref, memberId: this.server.memberId, contentType, description, config });
        if (source.string('name') === '') {
          await this.#agent.createVolume({ volume: messageOf(ref), contentType, description, config }, context);
          return reply.empty();
        }
        const [sourceName, sourceSnapshot = ''] = source.string('name').split('/') as [string, string?];
        const from: VolumeRef = { ...ref, pool: source.string('pool') || pool.name, name: sourceName };
        if (source.string('project')) from.project = this.#otherProject(request, source.string('project'));
        const { operation } = await this.#agent.copyVolume(
          {
            volume: messageOf(ref),
            source: messageOf(from),
            sourceSnapshot,
            description,
            config,
            hasConfig: body.has('config') && Object.keys(config).length > 0,
            snapshots: !source.boolean('volume_only'),
            refresh: exists,
            requestProject: request.project,
          },
          context,
        );
        return reply.operation(operation as never);
      }
      case 'migration':
        return this.#transfers.receive(request, ref, exists);
      default:
        throw fault.invalid(`Unknown source type "${source.string('type')}"`);
    }
  }

  async #dryRun(request: ApiRequest, payload: state.NewVolume): Promise<Reply> {
    return reply.dryRun((await this.replica.dryRun(state.createVolume, payload, submitOptions(request))).would);
  }

  /** Custom volumes change on their member's disk too; those of instances and images only in their row, and only in part. */
  async #change(
    request: ApiRequest,
    put: { description: string; config: Record<string, string> },
    { restore, hasConfig }: { restore: string; hasConfig: boolean },
  ): Promise<Reply> {
    const record = this.#named(request);
    const payload = { volume: messageOf(record) as VolumeRef, memberId: record.memberId, put, ifMatch: request.ifMatch };
    if (record.type !== 'custom') {
      const editable = record.type === 'image' ? [] : ['snapshots.'];
      const frozen = new Set(
        [...Object.keys(record.config), ...Object.keys(put.config)].filter(
          (key) => !key.startsWith('user.') && !editable.some((prefix) => key.startsWith(prefix)),
        ),
      );
      for (const key of frozen)
        if ((record.config[key] ?? '') !== (put.config[key] ?? '')) throw fault.invalid(`Volume config key "${key}" is not editable`);
    }
    if (record.type !== 'custom' || request.dryRun) return write(this.replica, request, state.changeVolume, payload, () => reply.empty());
    await this.#agent.changeVolume({ volume: messageOf(record), ...put, hasConfig, restore, ifMatch: request.ifMatch ?? '' }, callContext(request));
    return reply.empty();
  }

  #otherProject(request: ApiRequest, name: string): string {
    if (!mayTouch(request.caller, name)) throw fault.forbidden('not authorized');
    project(this.replica.reader, name);
    return volumeProject(this.replica.reader, name, 'custom');
  }

  #named(request: ApiRequest): state.VolumeRecord {
    const ref = addressed(this.replica.reader, request);
    state.pool(this.replica.reader, ref.pool);
    return state.volume(this.replica.reader, ref);
  }

  get #transfers(): VolumeTransfers {
    if (!this.transfers) throw fault.unsupported('Migrations and imports of storage volumes are not served here', { status: 501 });
    return this.transfers;
  }

  get #agent(): Calls<typeof StorageAgentService> {
    return this.members.calls(StorageAgentService);
  }
}
