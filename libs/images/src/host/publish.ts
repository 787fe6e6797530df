import { pipeline } from 'node:stream/promises';
import { fault } from '#kit';
import { programFailed, start } from '#host-kit';
import type { CallContext } from '#members';
import type { RunningOperation } from '#operations/host';
import type { InstancePublisher } from './image-host.js';
import type { ImagePost } from './image-post.js';
import { finishUpload } from './image-upload.js';
import type { LocalImages } from './local-images.js';
import { Progress } from './progress.js';

/** What images.compression_algorithm may name. */
export const compressors: Readonly<Record<string, readonly [string, ...string[]] | undefined>> = {
  none: undefined,
  gzip: ['gzip', '-cn'],
  pigz: ['pigz', '-cn'],
  bzip2: ['bzip2', '-c'],
  xz: ['xz', '-c', '-T0'],
  lzma: ['lzma', '-c'],
  zstd: ['zstd', '-cq', '-T0'],
  lz4: ['lz4', '-cq'],
};

/** One at a time: several would each be slower than all in turn. */
let turn: Promise<unknown> = Promise.resolve();

export interface PublishRequest {
  /** Gets the image. */
  project: string;
  /** Has the instance. */
  requestProject: string;
  compression: string;
  operation: RunningOperation;
  call: CallContext;
}

/** Makes an image of an instance or a snapshot: its tar, compressed and hashed on the way to disk. */
export function publishImage(
  images: LocalImages,
  publisher: InstancePublisher,
  wanted: ImagePost,
  request: PublishRequest,
): Promise<{ fingerprint: string; size: number }> {
  const work = turn.then(() => publish(images, publisher, wanted, request));
  turn = work.catch(() => {});
  return work;
}

async function publish(
  images: LocalImages,
  publisher: InstancePublisher,
  wanted: ImagePost,
  { project, requestProject, compression, operation, call }: PublishRequest,
): Promise<{ fingerprint: string; size: number }> {
  const { signal } = operation;
  const [command, ...options] = compression.trim().split(/\s+/);
  if (!command || !(command in compressors)) throw fault.invalid(`Unsupported compression algorithm "${compression}"`);
  if (options.some((option) => !/^-(\d{1,2}|T\d{1,3}|e)$/.test(option)))
    throw fault.invalid(`Unsupported options of compression algorithm "${compression}"`);
  const [name, snapshot] = wanted.source.name.split('/') as [string, string?];
  if ((wanted.source.type === 'snapshot') !== (snapshot !== undefined))
    throw fault.invalid(snapshot === undefined ? 'Not a snapshot' : 'This is a snapshot');
  const { properties, expiresAt } = wanted;
  const { tar, type } = await publisher.publish({ project: requestProject, name, snapshot, properties, expiresAt, signal });
  await using incoming = images.store.incoming();
  const progress = new Progress((text) => operation.progress('create_image_from_container_pack', `Image pack: ${text}`));
  const onBytes = (bytes: number): void => progress.at(bytes);
  const compressor = compressors[command];
  try {
    if (!compressor) {
      await incoming.write(tar, { onBytes });
    } else {
      const args = [...compressor.slice(1), ...options];
      const program = start(compressor[0], args, { stdin: 'pipe', stdout: 'pipe', stderr: 'null' });
      const stop = (): void => void program.kill('SIGKILL');
      signal.addEventListener('abort', stop, { once: true });
      // A tar that breaks off must not look like a whole one.
      const feeding = pipeline(tar, program.stdin).catch((error: unknown) => {
        stop();
        throw error;
      });
      feeding.catch(() => {});
      await incoming.write(program.stdout, { onBytes });
      await feeding;
      const ending = await program.ended;
      signal.removeEventListener('abort', stop);
      if (ending.code !== 0) throw programFailed(compressor[0], args, ending, Buffer.alloc(0), 'Failed to compress the image');
    }
  } finally {
    tar.destroy();
  }
  signal.throwIfAborted();
  const upload = { received: finishUpload(incoming, ''), filename: wanted.filename, type: type as 'container' };
  return await images.adopt(upload, wanted.extras(project), call);
}
