import type { Readable } from 'node:stream';
import { epoch } from '#api-contract';
import { fault } from '#kit';
import type { NewImage } from '../state/index.js';
import type { Incoming, Received } from './image-store.js';
import { readMultipart } from './multipart.js';
import { readMetadata } from './read-metadata.js';

/** Bytes on disk, hashed, and not yet looked into. */
export interface Upload {
  received: Received;
  filename: string;
  /** Said by the name of a split image's second part. */
  type?: 'container' | 'virtual-machine';
}

const partTypes = { rootfs: 'container', 'rootfs.img': 'virtual-machine' } as const;

/** Writes a body into `incoming` as it comes: a unified image, or with a boundary the two parts of a split one. @throws Fault invalid, unavailable (disk full) */
export async function writeBody(
  incoming: Incoming,
  body: Readable,
  boundary: string | undefined,
  onBytes?: (total: number) => void,
): Promise<{ filename: string; type?: Upload['type'] }> {
  let [filename, type]: [string, Upload['type']] = ['', undefined];
  if (boundary === undefined) {
    // A body that is refused must not take its connection with it: the answer goes back on it.
    await incoming.write(body.iterator({ destroyOnReturn: false }), { onBytes });
    return { filename };
  }
  let parts = 0;
  await readMultipart(body, boundary, async (head, bytes, index) => {
    parts += 1;
    if (index === 0 ? head.name !== 'metadata' : index > 1 || !(head.name in partTypes)) throw fault.invalid('Invalid multipart image');
    if (index === 1) [filename, type] = [head.filename, partTypes[head.name as keyof typeof partTypes]];
    await incoming.write(bytes, { onBytes });
  });
  if (parts !== 2) throw fault.invalid('Invalid multipart image');
  return { filename, type };
}

/** No more comes: are the bytes those that were announced? @throws Fault invalid */
export function finishUpload(incoming: Incoming, expected: string): Received {
  const received = incoming.finish();
  if (received.size === 0) throw fault.invalid('The image is empty');
  if (expected !== '' && expected !== received.fingerprint)
    throw fault.invalid(`fingerprints don't match, got ${received.fingerprint} expected ${expected}`);
  return received;
}

/** What the archive says of itself. @throws Fault invalid for what is no image */
export async function describeUpload({
  received,
  filename,
  type,
}: Upload): Promise<Omit<NewImage, 'project' | 'memberId' | 'public' | 'autoUpdate' | 'aliases'>> {
  const { metadata, type: found } = await readMetadata(received.metaPath);
  const kind = type ?? found;
  if (kind === 'unknown') throw fault.invalid('Image is missing a rootfs');
  const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
  return {
    fingerprint: received.fingerprint,
    filename,
    size: received.size,
    architecture: metadata.architecture,
    type: kind,
    createdAt: timeOf(metadata.creation_date),
    expiresAt: metadata.expiry_date === 0 ? epoch : timeOf(metadata.expiry_date),
    properties: metadata.properties,
  };
}
