import type { IncomingMessage } from 'node:http';
import { availableParallelism } from 'node:os';
import { arch } from 'node:process';
import { epoch } from '#api-contract';
import { Fault, KeyedLocks, fault } from '#kit';
import type { CallContext, HostContext } from '#members';
import { internalIdentity } from '#replica/state';
import type { StorageHost } from '#storage/host';
import { architecturesOf, isFingerprint } from '../model/index.js';
import * as state from '../state/index.js';
import type { FetchOptions, ImageHost, RemoteImage } from './image-host.js';
import { ImageStore } from './image-store.js';
import { describeUpload, finishUpload, type Upload } from './image-upload.js';
import { findByUrl, findOnLxd, type FoundImage, writeResponse } from './lxd-source.js';
import { Progress } from './progress.js';
import { Slots } from './slots.js';
import { findOnSimplestreams } from './simplestreams.js';
import { unpackImage } from './unpack.js';

/** What is known of an image beside what its archive says. */
export interface ImageExtras {
  project: string;
  public: boolean;
  autoUpdate: boolean;
  cached?: boolean;
  filename?: string;
  /** Over those of the archive. */
  properties?: Record<string, string>;
  /** Instead of those of the archive. */
  replaceProperties?: Record<string, string>;
  expiresAt?: string;
  /** Of `profileProject`, by default the image's own. */
  profiles?: string[];
  profileProject?: string;
  aliases: { name: string; description: string }[];
  source?: state.ImageSourceRecord;
}

/** Opens the export of an image on another member. */
export type ImageCopies = (fingerprint: string, signal?: AbortSignal) => Promise<IncomingMessage | undefined>;

/** Image files and rows of this member. */
export class LocalImages implements ImageHost {
  readonly store: ImageStore;
  /** On fingerprints: files of an image do not go while the same image comes. */
  readonly #locks = new KeyedLocks();
  /** Downloads under way, by fingerprint and project: however many ask, one goes. */
  readonly #fetching = new Map<string, Promise<string>>();

  /** Unpacking is the processor's work: more at once than there are processors makes each of them slower, and all of them later. */
  readonly #unpacks = new Slots(Math.max(2, availableParallelism()));

  constructor(
    private readonly context: HostContext,
    private readonly storage: Pick<StorageHost, 'removeImage' | 'cacheInPlaceOf'>,
    /** The files of an image from another member that has them; undefined when nobody has. */
    private readonly copies?: ImageCopies,
  ) {
    this.store = new ImageStore(`${context.server.stateDir}/images`, context.log);
  }

  async start(): Promise<void> {
    await this.store.start();
    await this.store.sweep(new Set(state.fingerprintsOn(this.context.replica.reader, this.context.server.memberId)));
  }

  async fill(fingerprint: string, path: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#fetchCopy(fingerprint, options.signal);
    const files = await this.store.files(fingerprint);
    await this.#unpacks.run(() => unpackImage(files, path, options));
  }

  /** What the cluster has and this member has not yet is copied when it is first needed. */
  async #fetchCopy(fingerprint: string, signal?: AbortSignal): Promise<void> {
    const { copies } = this;
    if (!copies || (await this.has(fingerprint))) return;
    await this.#locks.hold([fingerprint], async () => {
      if (await this.has(fingerprint)) return;
      const response = await copies(fingerprint, signal);
      if (!response) return;
      await using incoming = this.store.incoming();
      await writeResponse(incoming, response, { signal });
      await this.store.commit(finishUpload(incoming, fingerprint));
      const there = { fingerprint, memberId: this.context.server.memberId, there: true };
      await this.context.replica.submit(state.imageFiles, there, { identity: internalIdentity });
    });
  }

  async has(fingerprint: string): Promise<boolean> {
    return (await this.store.find(fingerprint)) !== undefined;
  }

  /** Files and row together: either both are there, or neither. */
  async adopt(upload: Upload, extras: ImageExtras, call: CallContext): Promise<{ fingerprint: string; size: number }> {
    const found = await describeUpload(upload);
    return this.#locks.hold([found.fingerprint], () => this.#adopt(upload, found, extras, call));
  }

  async #adopt(upload: Upload, found: Awaited<ReturnType<typeof describeUpload>>, extras: ImageExtras, call: CallContext) {
    const { fingerprint, size } = found;
    if (state.findImage(this.context.replica.reader, extras.project, fingerprint)) throw fault.conflict('Image with same fingerprint already exists');
    await this.store.commit(upload.received);
    const image: state.NewImage = {
      ...found,
      project: extras.project,
      public: extras.public,
      autoUpdate: extras.autoUpdate,
      cached: extras.cached,
      filename: extras.filename || found.filename,
      expiresAt: extras.expiresAt || found.expiresAt,
      properties: { ...(extras.replaceProperties ?? found.properties), ...extras.properties },
      profiles: extras.profiles,
      profileProject: extras.profileProject,
      aliases: extras.aliases,
      source: extras.source,
      memberId: this.context.server.memberId,
    };
    try {
      await this.context.replica.submit(state.createImage, image, optionsOf(call));
    } catch (error) {
      if (Fault.from(error).kind !== 'unavailable') await this.#removeUnused(fingerprint);
      throw error;
    }
    return { fingerprint, size };
  }

  async fetch(source: RemoteImage, options: FetchOptions): Promise<string> {
    const found = await this.find(source, options.signal);
    const kept = options.preferCached && found.source && state.keptImage(this.context.replica.reader, options.project, found.source);
    if (kept && (await this.has(kept.fingerprint))) return kept.fingerprint;
    return (
      await this.download(
        found,
        { project: options.project, public: options.public, autoUpdate: options.autoUpdate, cached: options.cached, aliases: [] },
        options,
      )
    ).fingerprint;
  }

  /** Where the image is and what it is. @throws Fault notFound, unavailable, invalid for a protocol we do not speak */
  find(source: RemoteImage, signal?: AbortSignal): Promise<FoundImage> {
    switch (source.protocol) {
      case '':
      case 'lxd':
        return findOnLxd(source, signal);
      case 'simplestreams':
        return findOnSimplestreams(source, architecturesOf(arch), signal);
      default:
        throw fault.invalid(`Unsupported image server protocol "${source.protocol}"`);
    }
  }

  findUrl(url: string, signal?: AbortSignal): Promise<FoundImage> {
    return findByUrl(url, architecturesOf(arch), signal);
  }

  /** An image that is there already, even in another project, is not downloaded again. */
  async download(
    found: FoundImage,
    extras: ImageExtras,
    { signal, onProgress, context }: Pick<FetchOptions, 'signal' | 'onProgress' | 'context'>,
  ): Promise<{ fingerprint: string; size: number }> {
    const { reader } = this.context.replica;
    if (!isFingerprint(found.fingerprint)) throw fault.unavailable('The image server names an image that is none', { status: 500 });
    const known = state.findImage(reader, extras.project, found.fingerprint);
    if (known && (await this.has(found.fingerprint))) return known;
    const key = `${extras.project}/${found.fingerprint}`;
    const running = this.#fetching.get(key) ?? this.#download(found, extras, signal, onProgress, context).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, running);
    await running;
    return state.image(reader, extras.project, found.fingerprint);
  }

  async #download(
    found: FoundImage,
    extras: ImageExtras,
    signal: AbortSignal | undefined,
    onProgress: ((text: string) => void) | undefined,
    call: CallContext,
  ): Promise<string> {
    const elsewhere = state.imagesEverywhere(this.context.replica.reader, found.fingerprint)[0];
    const source = extras.source ?? found.source;
    if (elsewhere && (await this.has(found.fingerprint))) {
      const { id: _, ...same } = elsewhere;
      const image: state.NewImage = {
        ...same,
        ...extras,
        filename: extras.filename || same.filename,
        source,
        properties: { ...same.properties, ...extras.properties },
        expiresAt: extras.expiresAt ?? same.expiresAt,
        memberId: this.context.server.memberId,
      };
      await this.context.replica.submit(state.createImage, image, optionsOf(call));
      return found.fingerprint;
    }
    let progress: Progress | undefined;
    const onBytes = (bytes: number, total?: number): void => {
      if (onProgress) (progress ??= new Progress(onProgress, total)).at(bytes);
    };
    await using incoming = this.store.incoming();
    const { filename, type } = await found.download(incoming, { signal, onBytes });
    const upload: Upload = { received: finishUpload(incoming, found.fingerprint), filename: found.filename || filename, type };
    const properties = Object.keys(found.properties).length > 0 ? found.properties : undefined;
    await this.adopt(
      upload,
      { ...extras, source, replaceProperties: properties, expiresAt: extras.expiresAt || (found.expiresAt === epoch ? '' : found.expiresAt) },
      call,
    );
    return found.fingerprint;
  }

  /** Where an image lies unpacked, the one that takes its place does so too: instances are made as quickly of it. */
  unpackInPlaceOf(before: string, fingerprint: string): Promise<void> {
    return this.storage.cacheInPlaceOf(before, fingerprint, (path, signal) => this.fill(fingerprint, path, { signal }));
  }

  /** From one project; with the last one its files and unpacked volumes go too. */
  async remove(project: string, fingerprint: string, call: CallContext): Promise<void> {
    const { result } = await this.context.replica.submit(state.deleteImage, { project, fingerprint }, optionsOf(call));
    if (result.last) await this.removeFiles(fingerprint, call);
  }

  /** What a member has of an image that no project has any more. */
  async removeFiles(fingerprint: string, call: CallContext): Promise<void> {
    await this.#locks.hold([fingerprint], async () => {
      if (state.imagesEverywhere(this.context.replica.reader, fingerprint).length > 0) return;
      await this.storage.removeImage(fingerprint, call);
      await this.#removeUnused(fingerprint);
    });
  }

  async #removeUnused(fingerprint: string): Promise<void> {
    const { replica, server } = this.context;
    if (state.imagesEverywhere(replica.reader, fingerprint).length > 0) return;
    await this.store.remove(fingerprint);
    await replica.submit(
      state.imageFiles,
      { fingerprint, memberId: server.memberId, there: false },
      { identity: { protocol: 'internal', username: '', address: '' } },
    );
  }
}

export const optionsOf = ({ identity, requestId }: CallContext) => ({ identity, requestId });
