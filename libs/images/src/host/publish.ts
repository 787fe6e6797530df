import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fault } from '#kit';
import { programFailed, start } from '#host-kit';
import type { CallContext } from '#members';
import type { RunningOperation } from '#operations/host';
import type { InstancePublisher } from './image-host.js';
import { parseCompression, type Compression } from '../model/index.js';
import type { ImagePost } from './image-post.js';
import { type Incoming, readFile } from './image-store.js';
import { finishUpload } from './image-upload.js';
import type { LocalImages } from './local-images.js';
import { Progress } from './progress.js';

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
  const compressor = parseCompression(compression);
  const [name, snapshot] = wanted.source.name.split('/') as [string, string?];
  if ((wanted.source.type === 'snapshot') !== (snapshot !== undefined))
    throw fault.invalid(snapshot === undefined ? 'Not a snapshot' : 'This is a snapshot');
  const { properties, expiresAt } = wanted;
  const { tar, type } = await publisher.publish({ project: requestProject, name, snapshot, properties, expiresAt, signal });
  await using incoming = images.store.incoming();
  const progress = new Progress((text) => operation.progress('create_image_from_container_pack', `Image pack: ${text}`));
  const onBytes = (bytes: number): void => progress.at(bytes);
  try {
    if (compressor.program === undefined) await incoming.write(tar, { onBytes });
    else await writeCompressed(tar, compressor.program, compressor, incoming, onBytes, signal);
  } finally {
    tar.destroy();
  }
  signal.throwIfAborted();
  const upload = { received: finishUpload(incoming, ''), filename: wanted.filename, type: type as 'container' };
  return await images.adopt(upload, wanted.extras(project), call);
}

async function writeCompressed(
  tar: Readable,
  program: string,
  { args: options, intoFile }: Compression,
  incoming: Incoming,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const file = intoFile ? incoming.scratch() : undefined;
  const args = file === undefined ? options : [...options, file];
  const compressing = start(program, args, { stdin: 'pipe', stdout: 'pipe', stderr: 'null' });
  const stop = (): void => void compressing.kill('SIGKILL');
  signal.addEventListener('abort', stop, { once: true });
  // A tar that breaks off must not look like a whole one.
  const feeding = pipeline(tar, compressing.stdin).catch((error: unknown) => {
    stop();
    throw error;
  });
  feeding.catch(() => {});
  if (file === undefined) await incoming.write(compressing.stdout, { onBytes });
  else compressing.stdout.resume();
  await feeding;
  const ending = await compressing.ended;
  signal.removeEventListener('abort', stop);
  if (ending.code !== 0) throw programFailed(program, args, ending, Buffer.alloc(0), 'Failed to compress the image');
  if (file !== undefined) await incoming.write(readFile(file), { onBytes });
}
