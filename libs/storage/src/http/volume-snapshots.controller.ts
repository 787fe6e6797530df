import { Controller, Inject } from '@nestjs/common';
import { etagOf, zeroTime } from '#api-contract';
import { Body, callContext, MEMBERS, REPLICA, reply, Route, submitOptions, write, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { type Calls, type Members, StorageAgentService } from '#members';
import type { Replica } from '#replica';
import { checkVolumeName } from '../model/index.js';
import * as state from '../state/index.js';
import { addressed } from './addressed.js';
import { messageOf, snapshotDocument } from './documents.js';

const snapshotsPath = '/1.0/storage-pools/:pool/volumes/:type/:name/snapshots';

/** Snapshots of volumes. Those of instances are read here, and changed through their instance. */
@Controller()
export class VolumeSnapshotsController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
  ) {}

  @Route('GET', snapshotsPath, { access: 'project' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const volume = this.#volume(request);
    const snapshots = state.volumeSnapshots(this.replica.reader, volume.id);
    // LXD leaves ?project= out of these URLs, and names the objects with their volume.
    if (request.recursion === 0) return reply.sync(snapshots.map(({ name }) => state.volumeUrl({ ...volume, project: 'default' }, name)));
    return reply.sync(
      snapshots.map((snapshot) => ({
        ...snapshotDocument(volume, snapshot),
        name: `${volume.name}/${snapshot.name}`,
        expires_at: snapshot.expiresAt || null,
      })),
    );
  }

  @Route('POST', snapshotsPath, { access: 'project' })
  async create(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const volume = this.#custom(request);
    const body = new Body(request.body);
    const name = body.string('name');
    if (name !== '') checkVolumeName(name);
    const expiresAt = body.has('expires_at') ? timeOf(body.string('expires_at')) : undefined;
    if (request.dryRun) {
      const planned = name || state.nextSnapshotName(this.replica.reader, volume.id);
      const payload = { volume, memberId: volume.memberId, name: planned, expiresAt: expiresAt ?? '' };
      return reply.dryRun((await this.replica.dryRun(state.createSnapshot, payload, submitOptions(request))).would);
    }
    const message = { volume: messageOf(volume), name, byPattern: false, expiresAt, requestProject: request.project };
    return operation(await this.#agent.createVolumeSnapshot(message, callContext(request)));
  }

  @Route('GET', `${snapshotsPath}/:snapshot`, { access: 'project' })
  async read(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { volume, snapshot } = this.#snapshot(request);
    return reply.sync(snapshotDocument(volume, snapshot), etagOf(state.snapshotEtag(snapshot)));
  }

  @Route('PUT', `${snapshotsPath}/:snapshot`, { access: 'project' })
  async replace(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    return this.#change(request, {
      description: body.string('description'),
      expiresAt: body.has('expires_at') ? timeOf(body.string('expires_at')) : '',
    });
  }

  @Route('PATCH', `${snapshotsPath}/:snapshot`, { access: 'project' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const { snapshot } = this.#snapshot(request);
    return this.#change(request, {
      description: body.string('description', snapshot.description),
      expiresAt: body.has('expires_at') ? timeOf(body.string('expires_at')) : snapshot.expiresAt,
    });
  }

  @Route('POST', `${snapshotsPath}/:snapshot`, { access: 'project' })
  async rename(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const newName = new Body(request.body).string('name');
    if (newName === '') throw fault.invalid('No name provided');
    checkVolumeName(newName);
    this.#custom(request);
    const { volume, snapshot } = this.#snapshot(request);
    const payload = { volume, memberId: volume.memberId, name: snapshot.name, newName };
    if (request.dryRun) return reply.dryRun((await this.replica.dryRun(state.renameSnapshot, payload, submitOptions(request))).would);
    const message = { volume: messageOf(volume), name: snapshot.name, newName, requestProject: request.project };
    return operation(await this.#agent.renameVolumeSnapshot(message, callContext(request)));
  }

  @Route('DELETE', `${snapshotsPath}/:snapshot`, { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    this.#custom(request);
    const { volume, snapshot } = this.#snapshot(request);
    const payload = { volume, memberId: volume.memberId, name: snapshot.name };
    if (request.dryRun) return reply.dryRun((await this.replica.dryRun(state.deleteSnapshot, payload, submitOptions(request))).would);
    const message = { volume: messageOf(volume), name: snapshot.name, requestProject: request.project };
    return operation(await this.#agent.deleteVolumeSnapshot(message, callContext(request)));
  }

  #change(request: ApiRequest, put: { description: string; expiresAt: string }): Promise<Reply> {
    const { volume, snapshot } = this.#snapshot(request);
    const payload = { volume, memberId: volume.memberId, name: snapshot.name, put, ifMatch: request.ifMatch };
    return write(this.replica, request, state.changeSnapshot, payload, () => reply.empty());
  }

  #volume(request: ApiRequest): state.VolumeRecord {
    const ref = addressed(this.replica.reader, request);
    state.pool(this.replica.reader, ref.pool);
    return state.volume(this.replica.reader, ref);
  }

  #custom(request: ApiRequest): state.VolumeRecord {
    const volume = this.#volume(request);
    if (volume.type !== 'custom') throw fault.invalid(`Invalid storage volume type "${volume.type}"`);
    return volume;
  }

  #snapshot(request: ApiRequest): { volume: state.VolumeRecord; snapshot: state.SnapshotRecord } {
    const volume = this.#volume(request);
    return { volume, snapshot: state.snapshot(this.replica.reader, volume.id, request.params.snapshot!) };
  }

  get #agent(): Calls<typeof StorageAgentService> {
    return this.members.calls(StorageAgentService);
  }
}

const operation = ({ operation: document }: { operation: unknown }): Reply => reply.operation(document as never);

/** RFC 3339 → canonical; '' for Go's zero time: never. @throws Fault invalid */
function timeOf(text: string): string {
  if (text === '' || text === zeroTime) return '';
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw fault.invalid(`Invalid time "${text}"`);
  return time.toISOString();
}
