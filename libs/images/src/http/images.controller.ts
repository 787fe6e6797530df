import { Readable } from 'node:stream';
import { Controller, Inject } from '@nestjs/common';
import { apiUrl, etagOf, type Operation } from '#api-contract';
import { Body, callContext, list, MEMBERS, mayTouch, REPLICA, reply, Route, submitOptions, write, type ApiRequest, type Reply } from '#http-kit';
import { fault } from '#kit';
import { type Calls, type ImageMessage, ImagesAgentService, type Members } from '#members';
import { effectiveProject } from '#projects/state';
import type { Replica } from '#replica';
import { isFingerprint, multipartBody, multipartBoundary, uploadHeaders } from '../model/index.js';
import * as state from '../state/index.js';
import { jsonBody } from './json-body.js';

const sourceTypes = ['container', 'instance', 'virtual-machine', 'snapshot', 'image', 'url'];

@Controller()
export class ImagesController {
  constructor(
    @Inject(REPLICA) private readonly replica: Replica,
    @Inject(MEMBERS) private readonly members: Members,
  ) {}

  @Route('GET', '/1.0/images', { access: 'guest' })
  async list(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { reader } = this.replica;
    const publicOnly = !mayTouch(request.caller, request.project);
    return list(request, state.images(reader, this.#project(request), { publicOnly }), {
      // LXD leaves ?project= out of these.
      url: ({ fingerprint }) => apiUrl(['images', fingerprint]),
      document: (record) => state.imageDocument(reader, record),
    });
  }

  @Route('POST', '/1.0/images', { access: 'guest', body: 'stream' })
  async create(request: ApiRequest): Promise<Reply> {
    const headers = uploadHeaders(request.headers);
    const boundary = multipartBoundary(request.headers['content-type']);
    const trusted = mayTouch(request.caller, request.project);
    if (!trusted && (headers.secret === '' || headers.fingerprint === '')) throw fault.forbidden('not authorized');
    await this.replica.barrier();
    const project = this.#project(request);
    const context = callContext(request);
    const post = boundary === undefined ? await jsonBody(request) : undefined;
    if (post !== undefined) {
      if (!trusted) throw fault.forbidden('not authorized');
      return this.#createFrom(request, new Body(post), project);
    }
    if (request.dryRun) return reply.dryRun([], ['the image itself: no body is read']);
    let token: Record<string, unknown> | undefined;
    if (headers.secret !== '' && headers.fingerprint !== '') {
      const redeemed = await this.#agent.redeemImageSecret(
        { image: this.#message(request, { project, fingerprint: headers.fingerprint }), secret: headers.secret, keep: false },
        context,
      );
      if (redeemed.valid) token = redeemed.metadata ?? {};
      else if (!trusted) throw fault.forbidden('not authorized');
    }
    const ticket = this.members.streams.offer(request.stream);
    const { operation } = await this.#agent.importImage(
      { project, ticket, boundary: boundary ?? '', headers: { ...headers }, token, requestProject: request.project },
      context,
    );
    return reply.operation(operation as Operation);
  }

  @Route('GET', '/1.0/images/:fingerprint', { access: 'guest' })
  async read(request: ApiRequest): Promise<Reply> {
    const record = await this.#readable(request, { keepSecret: true });
    return reply.sync(state.imageDocument(this.replica.reader, record), etagOf(state.imageEtag(record)));
  }

  @Route('PUT', '/1.0/images/:fingerprint', { access: 'project' })
  async replace(request: ApiRequest): Promise<Reply> {
    const body = new Body(request.body);
    return this.#update(request, {
      public: body.boolean('public'),
      autoUpdate: body.boolean('auto_update'),
      properties: body.map('properties'),
      expiresAt: body.has('expires_at') ? body.string('expires_at') : undefined,
      profiles: body.has('profiles') ? body.strings('profiles') : ['default'],
    });
  }

  @Route('PATCH', '/1.0/images/:fingerprint', { access: 'project' })
  async patch(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const body = new Body(request.body);
    const record = this.#named(request);
    return this.#update(request, {
      public: body.boolean('public', record.public),
      autoUpdate: body.boolean('auto_update', record.autoUpdate),
      properties: { ...record.properties, ...body.map('properties') },
      expiresAt: body.has('expires_at') ? body.string('expires_at') : undefined,
      profiles: body.has('profiles') ? body.strings('profiles') : undefined,
    });
  }

  @Route('DELETE', '/1.0/images/:fingerprint', { access: 'project' })
  async remove(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { project, fingerprint } = this.#named(request);
    if (request.dryRun) return reply.dryRun((await this.replica.dryRun(state.deleteImage, { project, fingerprint }, submitOptions(request))).would);
    const { operation } = await this.#agent.deleteImage(this.#message(request, { project, fingerprint }), callContext(request));
    return reply.operation(operation as Operation);
  }

  @Route('GET', '/1.0/images/:fingerprint/export', { access: 'guest' })
  async export(request: ApiRequest): Promise<Reply> {
    const { project, fingerprint } = await this.#readable(request, { keepSecret: false });
    const { parts } = await this.#agent.exportImage(this.#message(request, { project, fingerprint }), callContext(request, true));
    const open = (ticket: string): Readable => this.members.streams.open(ticket) as Readable;
    const only = parts[0]!;
    if (parts.length === 1) {
      return reply.raw(open(only.ticket), {
        'content-type': 'application/octet-stream',
        'content-length': String(only.size),
        'content-disposition': `inline;filename=${only.filename}`,
      });
    }
    // All tickets are taken now: they do not last as long as a slow client may need for the first part.
    const streams = parts.map(({ ticket }) => open(ticket));
    const { contentType, size, chunks } = multipartBody(parts.map((part, index) => ({ ...part, open: () => streams[index]! })));
    const body = Readable.from(chunks(), { objectMode: false });
    body.once('close', () => streams.forEach((stream) => stream.destroy()));
    return reply.raw(body, { 'content-type': contentType, 'content-length': String(size) });
  }

  @Route('POST', '/1.0/images/:fingerprint/export', { access: 'project' })
  async push(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { project, fingerprint } = this.#named(request);
    const body = new Body(request.body);
    const target = body.string('target');
    if (target === '') throw fault.invalid('No target provided');
    if (request.dryRun) return reply.dryRun([], ['what the target will say']);
    const post = { target, secret: body.string('secret'), certificate: body.string('certificate'), project: body.string('project') };
    const { operation } = await this.#agent.pushImage({ image: this.#message(request, { project, fingerprint }), post }, callContext(request));
    return reply.operation(operation as Operation);
  }

  @Route('POST', '/1.0/images/:fingerprint/refresh', { access: 'project' })
  async refresh(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { project, fingerprint } = this.#named(request);
    if (request.dryRun) return reply.dryRun([], ['what the image server has']);
    const { operation } = await this.#agent.refreshImage(this.#message(request, { project, fingerprint }), callContext(request));
    return reply.operation(operation as Operation);
  }

  @Route('POST', '/1.0/images/:fingerprint/secret', { access: 'project' })
  async secret(request: ApiRequest): Promise<Reply> {
    await this.replica.barrier();
    const { project, fingerprint } = this.#named(request);
    return this.#token(request, project, fingerprint, {});
  }

  /** From JSON: another server, a URL, an instance, or a promise to upload later. */
  async #createFrom(request: ApiRequest, body: Body, project: string): Promise<Reply> {
    const source = body.object('source');
    const [type, mode, name, remoteName] = [
      source.string('type'),
      source.string('mode'),
      source.string('name'),
      source.string('fingerprint') || source.string('alias'),
    ];
    const post = imagePost(body, source);
    if (mode === 'push') {
      const { aliases, expires_at, properties, public: isPublic } = post;
      if (!isFingerprint(source.string('fingerprint'))) throw fault.invalid('Invalid image fingerprint');
      return this.#token(request, project, source.string('fingerprint'), { aliases, expires_at, properties, public: isPublic });
    }
    if (!sourceTypes.includes(type)) throw fault.invalid('Invalid images JSON', { status: 500 });
    if (type === 'image' && remoteName === '') throw fault.invalid('must specify one of alias or fingerprint for init from image');
    if (type === 'image' && source.string('server') === '') throw fault.invalid('No image server given');
    if (type === 'url' && source.string('url') === '') throw fault.invalid('Missing URL');
    if (type !== 'image' && type !== 'url' && name === '') throw fault.invalid('No source provided');
    if (request.dryRun) return reply.dryRun([], ['the image itself: nothing is fetched']);
    const message = { project, post, requestProject: request.project };
    const context = callContext(request);
    const { operation } =
      type === 'image' || type === 'url' ? await this.#agent.fetchImage(message, context) : await this.#agent.publishImage(message, context);
    return reply.operation(operation as Operation);
  }

  async #token(request: ApiRequest, project: string, fingerprint: string, metadata: Record<string, unknown>): Promise<Reply> {
    if (request.dryRun) return reply.dryRun([]);
    const { operation } = await this.#agent.createImageSecret(
      { image: this.#message(request, { project, fingerprint }), metadata },
      callContext(request),
    );
    return reply.operation(operation as Operation);
  }

  async #update(request: ApiRequest, put: state.ImageChange): Promise<Reply> {
    await this.replica.barrier();
    const { project, fingerprint } = this.#named(request);
    const payload = { project, fingerprint, put: { ...put, profileProject: request.project }, ifMatch: request.ifMatch };
    return write(this.replica, request, state.updateImage, payload, () => reply.empty());
  }

  /** Images that a caller may look at: all of its projects, public ones of others, and what it has a secret for. @throws Fault notFound */
  async #readable(request: ApiRequest, { keepSecret: keep }: { keepSecret: boolean }): Promise<state.ImageRecord> {
    await this.replica.barrier();
    const record = this.#named(request);
    const secret = request.query.get('secret') ?? '';
    const { project, fingerprint } = record;
    const redeemed =
      secret === ''
        ? false
        : (await this.#agent.redeemImageSecret({ image: this.#message(request, { project, fingerprint }), secret, keep }, callContext(request)))
            .valid;
    // One text for what is not there and what is not to be seen.
    if (!record.public && !redeemed && !mayTouch(request.caller, request.project)) throw fault.notFound('Image not found');
    return record;
  }

  #named(request: ApiRequest): state.ImageRecord {
    return state.image(this.replica.reader, this.#project(request), request.params.fingerprint!);
  }

  #message(request: ApiRequest, { project, fingerprint }: Pick<state.ImageRecord, 'project' | 'fingerprint'>): ImageMessage {
    return { project, fingerprint, requestProject: request.project };
  }

  #project(request: ApiRequest): string {
    return effectiveProject(this.replica.reader, request.project, 'features.images');
  }

  get #agent(): Calls<typeof ImagesAgentService> {
    return this.members.calls(ImagesAgentService);
  }
}

/** The body as the agent takes it, every field of the right type. @throws Fault invalid */
function imagePost(body: Body, source: Body): Record<string, unknown> {
  const texts = (from: Body, ...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, from.string(name)]));
  return {
    ...texts(body, 'filename', 'expires_at', 'compression_algorithm'),
    public: body.boolean('public'),
    auto_update: body.boolean('auto_update'),
    properties: body.map('properties'),
    profiles: body.strings('profiles'),
    aliases: body.objects('aliases').map((alias) => texts(alias, 'name', 'description')),
    source: texts(source, 'type', 'url', 'name', 'server', 'protocol', 'certificate', 'secret', 'fingerprint', 'alias', 'image_type', 'project'),
  };
}
