import type { Operation } from '#api-contract';
import { Body, callContext, mayTouch, reply, type ApiRequest, type Reply } from '#http-kit';
import { checkInstanceName } from '#instances/model';
import type { InstanceBackups, InstanceTransfers } from '#instances/http';
import { instance } from '#instances/state';
import { fault } from '#kit';
import { type Calls, type Members, type MigrationTarget, TransferAgentService } from '#members';
import { project } from '#projects/state';
import type { Replica } from '#replica';
import type { VolumeTransfers } from '#storage/http';
import type { VolumeRef } from '#storage/model';
import { findPool } from '#storage/state';
import { backups } from '../state/index.js';
import { backupDocument } from './documents.js';

/** What the controllers of instances and volumes hand on: copies, moves, migrations, imports. */
export class Transfers implements InstanceTransfers, VolumeTransfers {
  constructor(
    private readonly replica: Replica,
    private readonly members: Members,
  ) {}

  /** Of both: an instance has a name and a pool in headers, a volume is named by its path. */
  async importBackup(request: ApiRequest, volume?: VolumeRef): Promise<Reply> {
    if (request.dryRun) return reply.dryRun([], ['all that the backup says: no body is read']);
    const ticket = this.members.streams.offer(request.stream);
    if (volume) {
      const message = { volume, ticket, requestProject: request.project };
      return operation(await this.#agent.importVolume(message, callContext(request)));
    }
    await this.replica.barrier();
    project(this.replica.reader, request.project);
    const header = (name: string): string => String(request.headers[name] ?? '');
    const [name, pool] = [header('x-lxd-name'), header('x-lxd-pool')];
    if (name !== '') checkInstanceName(name);
    return operation(await this.#agent.importInstance({ project: request.project, ticket, pool, name }, callContext(request)));
  }

  async create(request: ApiRequest, post: Record<string, unknown>): Promise<Reply> {
    const source = new Body(post).object('source');
    if (source.string('type') === 'copy') {
      const name = source.string('source');
      if (name === '') throw fault.invalid('Must specify a source instance');
      const from = source.string('project') || request.project;
      if (!mayTouch(request.caller, from)) throw fault.forbidden('not authorized');
      instance(this.replica.reader, from, name.split('/')[0]!);
    }
    checkInstanceName(String(post.name));
    if (request.dryRun) return reply.dryRun([{ entity: 'instances', action: 'create', before: null, after: post }], ['the bytes of its root disk']);
    return operation(await this.#agent.transferInstance({ project: request.project, post }, callContext(request)));
  }

  async move(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    const name = request.params.name!;
    const newName = body.string('name') || name;
    checkInstanceName(newName);
    if (request.target !== '') throw fault.invalid('Target only allowed when clustered');
    const [pool, newProject] = [body.string('pool'), body.string('project')];
    const instanceOnly = body.boolean('instance_only') || body.boolean('container_only');
    const context = callContext(request);
    if (pool === '' && newProject === '') return this.#send(request, '');
    if (pool !== '' && !findPool(this.replica.reader, pool)) throw fault.notFound('Storage pool not found');
    if (newProject !== '') {
      if (!mayTouch(request.caller, newProject)) throw fault.forbidden('not authorized');
      project(this.replica.reader, newProject);
    }
    const message = { project: request.project, name, newName, pool, newProject, instanceOnly };
    if (request.dryRun) return reply.dryRun([], ['the bytes of its root disk']);
    return operation(await this.#agent.moveInstance(message, context));
  }

  sendSnapshot(request: ApiRequest): Promise<Reply> {
    return this.#send(request, request.params.snapshot!);
  }

  async #send(request: ApiRequest, snapshot: string): Promise<Reply> {
    const body = new Body(request.body);
    if (request.dryRun) return reply.dryRun([], ['the other server']);
    const message = {
      project: request.project,
      name: request.params.name!,
      snapshot,
      // LXD takes a client that says nothing for an old one, which means it.
      live: snapshot === '' && body.boolean('live', true),
      instanceOnly: body.boolean('instance_only') || body.boolean('container_only'),
      allowInconsistent: body.boolean('allow_inconsistent'),
      target: targetOf(body),
    };
    return operation(await this.#agent.sendInstance(message, callContext(request)));
  }

  async receive(request: ApiRequest, volume: VolumeRef, exists: boolean): Promise<Reply> {
    const body = new Body(request.body);
    const source = body.object('source');
    const mode = source.string('mode');
    if (mode !== 'pull' && mode !== 'push') throw fault.unsupported(`Mode "${mode}" not implemented`, { status: 501 });
    if (request.dryRun) return reply.dryRun([], ['all that the other server sends']);
    const config = body.map('config');
    return operation(
      await this.#agent.receiveVolume(
        {
          volume,
          description: body.string('description'),
          config,
          hasConfig: Object.keys(config).length > 0,
          volumeOnly: source.boolean('volume_only'),
          refresh: exists,
          source:
            mode === 'pull'
              ? { certificate: source.string('certificate'), operation: source.string('operation'), secrets: source.map('secrets') }
              : undefined,
          requestProject: request.project,
        },
        callContext(request),
      ),
    );
  }

  async send(request: ApiRequest, volume: VolumeRef): Promise<Reply> {
    const body = new Body(request.body);
    if (request.dryRun) return reply.dryRun([], ['the other server']);
    const { pool, project: projectName, type, name } = volume;
    const message = {
      volume: { pool, project: projectName, type, name },
      volumeOnly: body.boolean('volume_only'),
      target: targetOf(body),
      requestProject: request.project,
    };
    return operation(await this.#agent.sendVolume(message, callContext(request)));
  }

  get #agent(): Calls<typeof TransferAgentService> {
    return this.members.calls(TransferAgentService);
  }
}

/** Backups in the full documents of instances. */
export const instanceBackups: InstanceBackups = {
  documents: (reader, ids) =>
    new Map(ids.map((id) => [id, backups(reader, 'instance', id).map(backupDocument)] as const).filter(([, documents]) => documents.length > 0)),
};

function targetOf(body: Body): MigrationTarget | undefined {
  if (!body.has('target')) return undefined;
  const target = body.object('target');
  return { certificate: target.string('certificate'), operation: target.string('operation'), secrets: target.map('secrets') };
}

const operation = ({ operation: document }: { operation?: { [key: string]: unknown } | undefined }): Reply =>
  reply.operation(document as unknown as Operation);
