import { fault } from '#kit';
import type { CallContext, HostContext } from '#members';
import { internalIdentity } from '#replica/state';
import * as state from '../state/index.js';
import type { FetchOptions } from './image-host.js';
import { optionsOf, type LocalImages } from './local-images.js';

const dayMs = 24 * 3600 * 1000;

/** Removes images that were fetched for instances and not used for images.remote_cache_expiry days (0: never). */
export async function expireImages(images: LocalImages, context: HostContext, setting: (key: string, project: string) => string): Promise<void> {
  const call: CallContext = { identity: internalIdentity, requestId: '' };
  const now = context.clock.now().getTime();
  for (const record of state.unusedCachedImages(context.replica.reader, context.clock.now())) {
    const days = Number(setting('images.remote_cache_expiry', record.project) || '10');
    const usedAt = new Date(record.lastUsedAt || record.uploadedAt).getTime();
    if (days > 0 && now - usedAt > days * dayMs) await images.remove(record.project, record.fingerprint, call);
  }
}

const hourMs = 3600 * 1000;

/**
 * Refreshes the images that want it (auto_update), each at most once in images.auto_update_interval hours (0: never). One whose server is away waits for the
 * next time.
 */
export class AutoUpdate {
  readonly #askedMs = new Map<number, number>();

  constructor(
    private readonly images: LocalImages,
    private readonly context: HostContext,
    private readonly setting: (key: string, project: string) => string,
  ) {}

  async run(): Promise<void> {
    const { replica, server, clock, log } = this.context;
    for (const record of state.autoUpdatedImages(replica.reader)) {
      // One member does it: the first of those that have the files.
      if (state.membersWithImage(replica.reader, record.fingerprint)[0] !== server.memberId) continue;
      const hours = Number(this.setting('images.auto_update_interval', record.project) || '6');
      const sinceMs = clock.monotonicMs() - (this.#askedMs.get(record.id) ?? -Infinity);
      if (hours <= 0 || sinceMs < hours * hourMs) continue;
      this.#askedMs.set(record.id, clock.monotonicMs());
      const context: CallContext = { identity: internalIdentity, requestId: '' };
      await refreshImage(this.images, this.context, record, { context }).catch((error: unknown) =>
        log.warn({ err: error, fingerprint: record.fingerprint }, 'could not refresh an image'),
      );
    }
  }
}

/** Asks where an image came from for the newest of its alias; a newer one takes its place. @returns whether there was one @throws Fault notFound if it came from nowhere */
export async function refreshImage(
  images: LocalImages,
  context: HostContext,
  record: state.ImageRecord,
  options: Pick<FetchOptions, 'signal' | 'onProgress' | 'context'>,
): Promise<boolean> {
  const { source } = record;
  if (!source) throw fault.notFound(`Failed to update image "${record.fingerprint}" in project "${record.project}": Image source not found`);
  const remote = {
    server: source.server,
    protocol: source.protocol,
    certificate: source.certificate,
    secret: '',
    name: source.alias,
    imageType: source.image_type,
    project: '',
  };
  const found = await images.find(remote, options.signal);
  if (found.fingerprint === record.fingerprint) return false;
  const { project } = record;
  await images.download(found, { project, public: record.public, autoUpdate: record.autoUpdate, cached: record.cached, aliases: [] }, options);
  const payload = { project, fingerprint: record.fingerprint, by: found.fingerprint };
  const { result } = await context.replica.submit(state.replaceImage, payload, optionsOf(options.context));
  await images.unpackInPlaceOf(record.fingerprint, found.fingerprint);
  if (result.last) await images.removeFiles(record.fingerprint, options.context);
  return true;
}
