import { Fault, type Logger } from '#kit';
import type { DiskVolume, StorageDriver } from './driver.js';

type Fill = (path: string, signal: AbortSignal) => Promise<void>;

interface Unpacking {
  done: Promise<void>;
  waiting: number;
  abort: AbortController;
}

export const imageVolume = (fingerprint: string): DiskVolume => ({ type: 'image', name: fingerprint, contentType: 'filesystem' });

/** Unfinished unpacks are under this name: an image's volume under its own is whole. Nothing else in a pool's images begins with a dot. */
const partial = (fingerprint: string): DiskVolume => imageVolume(`.partial-${fingerprint}`);

/** Unpacked images, one volume a pool and image, from which instances are cloned. However many ask at once, it is unpacked once. */
export class ImageCache {
  readonly #unpacking = new Map<string, Unpacking>();

  constructor(
    /** Writes the volume's row. */
    private readonly record: (pool: string, fingerprint: string) => Promise<void>,
    private readonly log: Logger,
  ) {}

  /** Resolves when the image's volume is there, whole and sealed. @throws what `fill` throws; Fault of the signal when the caller goes away */
  async ensure(pool: string, driver: StorageDriver, fingerprint: string, fill: Fill, signal?: AbortSignal): Promise<void> {
    if (await driver.exists(imageVolume(fingerprint))) return this.record(pool, fingerprint);
    const key = `${pool}/${fingerprint}`;
    let job = this.#unpacking.get(key);
    if (!job) {
      const abort = new AbortController();
      const done = this.#unpack(pool, driver, fingerprint, fill, abort.signal).finally(() => this.#unpacking.delete(key));
      done.catch(() => {});
      job = { done, waiting: 0, abort };
      this.#unpacking.set(key, job);
    }
    job.waiting += 1;
    try {
      await (signal ? Promise.race([job.done, aborted(signal)]) : job.done);
    } finally {
      job.waiting -= 1;
      if (job.waiting === 0) job.abort.abort(new Fault('unavailable', 'Unpacking the image was cancelled'));
    }
  }

  /** What a crash left half unpacked. */
  async sweep(driver: StorageDriver): Promise<void> {
    for (const volume of await driver.list()) {
      if (volume.type !== 'image' || !volume.name.startsWith('.partial-')) continue;
      this.log.warn({ volume: volume.name }, 'removing a half unpacked image');
      await driver.remove(volume);
    }
  }

  async #unpack(pool: string, driver: StorageDriver, fingerprint: string, fill: Fill, signal: AbortSignal): Promise<void> {
    const volume = partial(fingerprint);
    await driver.remove(volume);
    await driver.create(volume);
    try {
      await fill(driver.path(volume), signal);
      signal.throwIfAborted();
      await driver.seal(volume);
      await driver.rename(volume, fingerprint);
    } catch (error) {
      await driver.remove(volume);
      throw error;
    }
    await this.record(pool, fingerprint);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(Fault.from(signal.reason));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
