import type { Readable } from 'node:stream';
import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf } from '#api-contract';
import { MEMBERS, REPLICA, Route, callContext, reply, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { InstancesAgentService, type Calls, type FileReply, type Members } from '#members';
import type { Replica } from '#replica';
import { instance } from '../state/index.js';
import { named } from './instances.controller.js';
import type { Tree } from './trees.js';

/** What is inside an instance or written about it: files, logs, the console's log, metadata and templates. */
export function filesController(tree: Tree): new (...args: never[]) => object {
  const at = `/1.0/${tree}/:name`;

  @Controller()
  class FilesController {
    constructor(
      @Inject(REPLICA) private readonly replica: Replica,
      @Inject(MEMBERS) private readonly members: Members,
    ) {}

    @Route('HEAD', `${at}/files`, { access: 'project' })
    async head(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      return reply.raw('', fileHeaders(await this.#agent.statFile({ instance: named(request), path: pathOf(request) }, callContext(request, true))));
    }

    @Route('GET', `${at}/files`, { access: 'project' })
    async read(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const path = pathOf(request);
      const file = await this.#agent.readFile({ instance: named(request), path }, callContext(request, true));
      const headers = fileHeaders(file);
      if (file.type === 'directory') return { kind: 'sync', metadata: file.names, headers };
      if (file.type === 'symlink') return reply.raw(file.target, { ...headers, 'content-type': 'application/octet-stream' });
      return this.#bytes(file, { ...headers, 'content-disposition': `inline;filename=${path.split('/').at(-1)}` });
    }

    @Route('POST', `${at}/files`, { access: 'project', body: 'stream' })
    async write(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const path = pathOf(request);
      const { type, append, uid, gid, mode } = writeHeaders(request);
      if (request.dryRun) return reply.dryRun([], [`a ${type} at ${path}`]);
      const ticket = this.members.streams.offer(request.stream);
      await this.#agent.writeFile({ instance: named(request), path, type, append, uid, gid, mode, ticket }, callContext(request));
      return reply.empty();
    }

    @Route('DELETE', `${at}/files`, { access: 'project' })
    async remove(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      if (request.dryRun) return reply.dryRun([], [`the end of ${pathOf(request)}`]);
      await this.#agent.deleteFile({ instance: named(request), path: pathOf(request) }, callContext(request));
      return reply.empty();
    }

    @Route('GET', `${at}/logs`, { access: 'project' })
    async listLogs(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const { names } = await this.#agent.listLogs(named(request), callContext(request, true));
      return reply.sync(names.map((name) => apiUrl([tree, request.params.name!, 'logs', name])));
    }

    @Route('GET', `${at}/logs/:file`, { access: 'project' })
    async readLog(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const path = request.params.file!;
      return this.#bytes(await this.#agent.readLog({ instance: named(request), path }, callContext(request, true)), {
        'content-disposition': `inline;filename=${path}`,
      });
    }

    @Route('DELETE', `${at}/logs/:file`, { access: 'project' })
    async removeLog(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      if (request.dryRun) return reply.dryRun([], [`the end of the log ${request.params.file}`]);
      await this.#agent.deleteLog({ instance: named(request), path: request.params.file! }, callContext(request));
      return reply.empty();
    }

    @Route('GET', `${at}/console`, { access: 'project' })
    async readConsole(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      return this.#bytes(await this.#agent.readLog({ instance: named(request), path: '' }, callContext(request, true)), {
        'content-disposition': 'inline;filename=',
      });
    }

    @Route('DELETE', `${at}/console`, { access: 'project' })
    async removeConsole(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      if (request.dryRun) return reply.dryRun([], ["the end of the console's log"]);
      await this.#agent.deleteLog({ instance: named(request), path: '' }, callContext(request));
      return reply.empty();
    }

    @Route('GET', `${at}/metadata`, { access: 'project' })
    async readMetadata(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const { metadata } = await this.#agent.readMetadata(named(request), callContext(request, true));
      return reply.sync(metadata, etagOf(metadata));
    }

    @Route('PUT', `${at}/metadata`, { access: 'project' })
    async replaceMetadata(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      return this.#writeMetadata(request, request.body as Record<string, unknown>);
    }

    @Route('PATCH', `${at}/metadata`, { access: 'project' })
    async patchMetadata(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const { metadata } = await this.#agent.readMetadata(named(request), callContext(request));
      return this.#writeMetadata(request, { ...metadata, ...(request.body as Record<string, unknown>) });
    }

    @Route('GET', `${at}/metadata/templates`, { access: 'project' })
    async listOrReadTemplates(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const path = request.query.get('path') ?? '';
      if (path === '') return reply.sync((await this.#agent.listTemplates(named(request), callContext(request, true))).names);
      return this.#bytes(await this.#agent.readTemplate({ instance: named(request), path }, callContext(request, true)), {});
    }

    @Route('POST', `${at}/metadata/templates`, { access: 'project', body: 'stream' })
    async writeTemplate(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const path = pathOf(request, 'Missing path argument');
      if (request.dryRun) return reply.dryRun([], [`the template ${path}`]);
      const ticket = this.members.streams.offer(request.stream);
      await this.#agent.writeTemplate({ instance: named(request), path, type: 'file', append: false, ticket }, callContext(request));
      return reply.empty();
    }

    @Route('DELETE', `${at}/metadata/templates`, { access: 'project' })
    async removeTemplate(request: ApiRequest): Promise<Reply> {
      await this.#exists(request);
      const path = pathOf(request);
      if (request.dryRun) return reply.dryRun([], [`the end of the template ${path}`]);
      await this.#agent.deleteTemplate({ instance: named(request), path }, callContext(request));
      return reply.empty();
    }

    async #writeMetadata(request: ApiRequest, metadata: Record<string, unknown>): Promise<Reply> {
      if (metadata === null || typeof metadata !== 'object' || Array.isArray(metadata))
        throw fault.invalid('Invalid request body: it must be a JSON object');
      if (request.dryRun) return reply.dryRun([], ['metadata.yaml of the instance']);
      await this.#agent.writeMetadata({ instance: named(request), metadata, ifMatch: request.ifMatch ?? '' }, callContext(request));
      return reply.empty();
    }

    #bytes(file: FileReply, headers: Record<string, string>): Reply {
      return reply.raw(this.members.streams.open(file.ticket) as Readable, {
        'content-type': 'application/octet-stream',
        'content-length': String(file.size),
        ...(file.modified ? { 'last-modified': new Date(file.modified).toUTCString() } : {}),
        ...headers,
      });
    }

    /** @throws Fault notFound */
    async #exists(request: ApiRequest): Promise<void> {
      await this.replica.barrier();
      instance(this.replica.reader, request.project, request.params.name!);
    }

    get #agent(): Calls<typeof InstancesAgentService> {
      return this.members.calls(InstancesAgentService);
    }
  }
  return FilesController;
}

/** From the URL only: a body of form data is a file's content like any other. @throws Fault invalid */
function pathOf(request: ApiRequest, missing = 'Missing path argument'): string {
  const path = request.query.get('path') ?? '';
  if (path === '') throw fault.invalid(missing);
  if (path.includes('\0')) throw fault.invalid('Invalid path argument');
  return path;
}

function fileHeaders({ type, mode, uid, gid, modified }: FileReply): Record<string, string> {
  return {
    'X-LXD-type': type,
    'X-LXD-mode': `0${(mode & 0o7777).toString(8).padStart(3, '0')}`,
    'X-LXD-uid': String(uid),
    'X-LXD-gid': String(gid),
    // As Go prints a time: 2026-11-23 18:34:01 +0000 UTC.
    ...(modified ? { 'X-LXD-modified': `${new Date(modified).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC` } : {}),
  };
}

/** @throws Fault invalid */
function writeHeaders({ headers }: ApiRequest): { type: string; append: boolean; uid?: number; gid?: number; mode?: number } {
  const text = (name: string): string | undefined => (headers[name] as string | undefined) || undefined;
  const type = text('x-lxd-type') ?? 'file';
  if (!['file', 'symlink', 'directory'].includes(type)) throw fault.invalid(`Bad file type: ${type}`);
  const write = text('x-lxd-write') ?? 'overwrite';
  if (write !== 'overwrite' && write !== 'append') throw fault.invalid(`Bad file write mode: ${write}`);
  return {
    type,
    append: write === 'append',
    uid: number(text('x-lxd-uid'), 10),
    gid: number(text('x-lxd-gid'), 10),
    mode: number(text('x-lxd-mode'), 8),
  };
}

function number(text: string | undefined, base: 8 | 10): number | undefined {
  if (text === undefined || text === '-1') return undefined;
  const value = parseInt(text, base);
  if (!(base === 8 ? /^[0-7]{1,6}$/ : /^\d{1,10}$/).test(text) || value > 0xffff_ffff)
    throw fault.invalid(`Bad number in a file header: ${text.slice(0, 32)}`);
  return value;
}
