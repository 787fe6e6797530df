import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Readable } from 'node:stream';
import { apiUrl } from '#api-contract';
import { Fault, fault } from '#kit';
import {
  type CallContext,
  type Calls,
  type ExportImageReply,
  type HostContext,
  type ImageMessage,
  type ImportImageRequest,
  ImagesAgentService,
} from '#members';
import type { Operations, RunningOperation } from '#operations/host';
import type { StorageHost } from '#storage/host';
import type { UploadHeaders } from '../model/index.js';
import * as state from '../state/index.js';
import { formatOf } from './archive.js';
import type { ImageHost, InstancePublisher } from './image-host.js';
import { readFile } from './image-store.js';
import { finishUpload, writeBody } from './image-upload.js';
import { type ImageCopies, type ImageExtras, LocalImages } from './local-images.js';
import { ImagePost } from './image-post.js';
import { publishImage } from './publish.js';
import { pushImage } from './push.js';
import { AutoUpdate, expireImages, refreshImage } from './upkeep.js';

const upkeepEveryMs = 3600 * 1000;
/** After the start, and after its settings have changed. */
const upkeepSoonMs = 1000;

export interface ImageAgentOptions {
  context: HostContext;
  operations: Operations;
  storage: StorageHost;
  /** Server keys as they are now: images.compression_algorithm, images.remote_cache_expiry, images.auto_update_interval. */
  setting: (key: string, project: string) => string;
  /** From other members, in a cluster. */
  copies?: ImageCopies;
}

/** The images of this member: what the agent starts after storage, offers to the gateway, and gives to instances as `images`. */
export class ImageAgent {
  readonly images: ImageHost;
  readonly #local: LocalImages;
  readonly #autoUpdate: AutoUpdate;
  #publisher?: InstancePublisher;
  #upkeep?: NodeJS.Timeout;
  #soon?: NodeJS.Timeout;
  #watch?: Disposable;
  #keptUp: Promise<void> = Promise.resolve();

  constructor(private readonly options: ImageAgentOptions) {
    this.#local = new LocalImages(options.context, options.storage, options.copies);
    this.#autoUpdate = new AutoUpdate(this.#local, options.context, options.setting);
    this.images = this.#local;
  }

  /** Instances stand above images: they bring this. */
  usePublisher(publisher: InstancePublisher): void {
    this.#publisher = publisher;
  }

  async start(): Promise<void> {
    await this.#local.start();
    this.options.context.members.serve(ImagesAgentService, this.#calls());
    this.#upkeep = setInterval(() => this.#keepUp(), upkeepEveryMs);
    this.#upkeep.unref();
    this.#keepUpSoon();
    this.#watch = this.options.context.replica.watch(({ touched }) => {
      if (touched === 'everything' || touched.some(({ table }) => table === 'server_config' || table === 'projects')) this.#keepUpSoon();
    });
  }

  stop(): void {
    this.#watch?.[Symbol.dispose]();
    clearInterval(this.#upkeep);
    clearTimeout(this.#soon);
  }

  #keepUpSoon(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#keepUp(), upkeepSoonMs);
    this.#soon.unref();
  }

  #calls(): Calls<typeof ImagesAgentService> {
    return {
      importImage: (request, call) => this.#import(request, call),
      fetchImage: async ({ project, post, requestProject }, call) => {
        const wanted = new ImagePost(post ?? {});
        return this.#operation('Downloading image', requestProject, call, {}, async (operation) => {
          const { signal } = operation;
          const source = wanted.source;
          const found = source.url === '' ? await this.#local.find(source.remote, signal) : await this.#local.findUrl(source.url, signal);
          const { fingerprint, size } = await this.#local.download(found, wanted.extras(project), { ...this.#progress(operation), context: call });
          return { fingerprint, size: String(size) };
        });
      },
      publishImage: async ({ project, post, requestProject }, call) => {
        const publisher = this.#publisher;
        if (!publisher) throw fault.unavailable('This server has no instances to publish');
        const wanted = new ImagePost(post ?? {});
        const compression = wanted.compression || this.options.setting('images.compression_algorithm', project) || 'gzip';
        return this.#operation('Downloading image', requestProject, call, {}, async (operation) => {
          const request = { project, requestProject, compression, operation, call };
          const { fingerprint, size } = await publishImage(this.#local, publisher, wanted, request);
          return { fingerprint, size: String(size) };
        });
      },
      deleteImage: async ({ project, fingerprint, requestProject }, call) => {
        const record = state.image(this.#reader, project, fingerprint);
        return this.#operation('Deleting image', requestProject, call, resourcesOf(record.fingerprint), () =>
          this.#local.remove(project, record.fingerprint, call),
        );
      },
      refreshImage: async ({ project, fingerprint, requestProject }, call) => {
        const record = state.image(this.#reader, project, fingerprint);
        return this.#operation('Refreshing image', requestProject, call, resourcesOf(record.fingerprint), async (operation) => ({
          refreshed: await refreshImage(this.#local, this.options.context, record, { ...this.#progress(operation), context: call }),
        }));
      },
      exportImage: (image) => this.#export(image.project, image.fingerprint),
      pushImage: async ({ image, post }, call) => {
        const record = state.image(this.#reader, image!.project, image!.fingerprint);
        return this.#operation('Downloading image', image!.requestProject, call, resourcesOf(record.fingerprint), (operation) =>
          pushImage(this.#local.store, record, post ?? {}, operation.signal),
        );
      },
      createImageSecret: async ({ image, metadata }, call) => this.#secret(image!, metadata ?? {}, call),
      redeemImageSecret: async ({ image, secret, keep }, call) => {
        const found = await this.#redeem(image!, secret, keep, call);
        return { valid: found !== undefined, metadata: found };
      },
    };
  }

  /** Takes the body before it answers, so that a client that goes away meanwhile leaves no operation. */
  async #import({ project, ticket, boundary, headers, token, requestProject }: ImportImageRequest, call: CallContext) {
    const said = headers as unknown as UploadHeaders;
    const incoming = this.#local.store.incoming();
    try {
      const body = this.options.context.members.streams.open(ticket) as Readable;
      const { filename, type } = await writeBody(incoming, body, boundary || undefined);
      const upload = { received: finishUpload(incoming, said.fingerprint), filename: filename || said.filename, type };
      const granted = new ImagePost(token ?? {});
      const extras: ImageExtras = {
        project,
        public: token ? granted.public : said.public,
        autoUpdate: false,
        properties: said.properties,
        replaceProperties: token && Object.keys(granted.properties).length > 0 ? granted.properties : undefined,
        expiresAt: token ? granted.expiresAt : undefined,
        profiles: said.profiles,
        profileProject: requestProject,
        aliases: token ? granted.aliases : [],
      };
      // Whoever uploads with a token alone learns the end of it by this secret.
      const metadata = token ? { secret: randomBytes(32).toString('hex') } : undefined;
      return this.#operation(
        'Downloading image',
        requestProject,
        call,
        {},
        async (operation) => {
          await using _ = incoming;
          operation.update({ fingerprint: upload.received.fingerprint, size: String(upload.received.size) });
          await this.#local.adopt(upload, extras, call);
        },
        metadata,
      );
    } catch (error) {
      await incoming[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #export(project: string, prefix: string): Promise<ExportImageReply> {
    const record = state.image(this.#reader, project, prefix);
    const files = await this.#local.store.files(record.fingerprint);
    const extensionOf = async (path: string): Promise<string> => (await formatOf(path).catch(() => ({ extension: '' }))).extension;
    const offer = (path: string): string => this.options.context.members.streams.offer(readFile(path));
    const metaName = `${record.fingerprint}${await extensionOf(files.metaPath)}`;
    if (!files.rootfsPath) return { parts: [{ name: '', filename: metaName, size: files.metaSize, ticket: offer(files.metaPath) }] };
    const rootfsName = `${record.fingerprint}${await extensionOf(files.rootfsPath)}`;
    const kind = record.type === 'virtual-machine' ? 'rootfs.img' : 'rootfs';
    return {
      parts: [
        { name: 'metadata', filename: `meta-${metaName}`, size: files.metaSize, ticket: offer(files.metaPath) },
        { name: kind, filename: rootfsName, size: files.rootfsSize!, ticket: offer(files.rootfsPath) },
      ],
    };
  }

  async #secret({ requestProject, fingerprint }: ImageMessage, metadata: Record<string, unknown>, call: CallContext) {
    const operation = this.options.operations.start({
      description: 'Image download token',
      class: 'token',
      project: requestProject,
      resources: resourcesOf(fingerprint),
      metadata: { ...metadata, secret: randomBytes(32).toString('hex') },
      context: call,
    });
    return { operation: { ...operation } };
  }

  /** A token is good for one download or upload; whoever downloads looks at the image first. */
  async #redeem(
    { requestProject, fingerprint }: ImageMessage,
    secret: string,
    keep: boolean,
    call: CallContext,
  ): Promise<Record<string, unknown> | undefined> {
    if (secret === '' || fingerprint === '') return undefined;
    const url = apiUrl(['images', fingerprint]);
    const token = this.options.operations.tokens().find(({ id, resources, metadata }) => {
      const record = this.options.operations.find(id);
      return record?.project === requestProject && resources?.['images']?.includes(url) && equal(String(metadata?.['secret'] ?? ''), secret);
    });
    if (!token) return undefined;
    if (!keep) await this.options.operations.cancel(token.id, call.identity);
    const { secret: _, ...rest } = token.metadata ?? {};
    return rest;
  }

  #progress(operation: RunningOperation): { signal: AbortSignal; onProgress: (text: string) => void } {
    return { signal: operation.signal, onProgress: (text) => operation.progress('download', `rootfs: ${text}`) };
  }

  #operation(
    description: string,
    project: string,
    context: CallContext,
    resources: Record<string, string[]>,
    run: (operation: RunningOperation) => Promise<Record<string, unknown> | void>,
    metadata?: Record<string, unknown>,
  ) {
    const named = Object.keys(resources).length > 0 ? { resources } : {};
    const operation = this.options.operations.start({ description, project, ...named, metadata, context, mayCancel: false, run });
    return { operation: { ...operation } };
  }

  /** One after the other. */
  #keepUp(): void {
    const { context, setting } = this.options;
    this.#keptUp = this.#keptUp
      .then(() => expireImages(this.#local, context, setting))
      .then(() => this.#autoUpdate.run())
      .catch((error: unknown) => context.log.warn({ err: error, detail: Fault.from(error).detail }, 'could not keep images up to date'));
  }

  get #reader() {
    return this.options.context.replica.reader;
  }
}

const resourcesOf = (fingerprint: string): Record<string, string[]> => ({ images: [apiUrl(['images', fingerprint])] });

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
