import { open } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { extract, type Header } from 'tar-stream';
import { fault, Fault } from '#kit';
import { run, start } from '#host-kit';
import { metadataMaxBytes, parseMetadata, type ImageMetadata } from '../model/index.js';
import { formatOf, type ArchiveFormat } from './archive.js';

export interface ReadMetadata {
  metadata: ImageMetadata;
  /** By the names of its members; 'unknown' for an archive without a root file system. */
  type: 'container' | 'virtual-machine' | 'unknown';
}

/** Bounds of one reading: an archive that hides its metadata behind more than this is not an image. */
const membersMax = 2_000_000;
const deadlineMs = 10 * 60_000;

/** metadata.yaml of a unified image or a metadata archive, and what kind of image the former is. Stops reading once it knows. @throws Fault invalid */
export async function readMetadata(path: string): Promise<ReadMetadata> {
  const format = await formatOf(path);
  if (format.kind === 'qcow2') throw fault.invalid('Metadata tarball is missing metadata.yaml');
  return format.kind === 'squashfs' ? fromSquashfs(path) : fromTar(path, format);
}

async function fromTar(path: string, format: ArchiveFormat): Promise<ReadMetadata> {
  const file = await open(path, 'r');
  const child = format.decompress && start(format.decompress[0], format.decompress.slice(1), { stdin: file.fd, stdout: 'pipe', stderr: 'null' });
  const source: Readable = child ? child.stdout : createReadStream(path, { highWaterMark: 1024 * 1024 });
  const timer = setTimeout(() => source.destroy(new Error('deadline')), deadlineMs);
  try {
    return await scan(source);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw fault.invalid('The image is not a readable archive', { cause: error, detail: String(error) });
  } finally {
    clearTimeout(timer);
    source.destroy();
    child?.kill('SIGKILL');
    await file.close();
  }
}

async function scan(source: Readable): Promise<ReadMetadata> {
  const tar = extract();
  source.on('error', (error) => tar.destroy(error));
  source.pipe(tar);
  let metadata: ImageMetadata | undefined;
  let type: ReadMetadata['type'] = 'unknown';
  let members = 0;
  for await (const entry of tar) {
    if (++members > membersMax) throw fault.invalid('The image has too many members');
    const name = nameOf(entry.header);
    if (name.startsWith('rootfs/') || name === 'rootfs') type = 'container';
    else if (name === 'rootfs.img') type = 'virtual-machine';
    if (name === 'metadata.yaml' && !metadata) metadata = parseMetadata(await textOf(entry as unknown as AsyncIterable<Buffer>, entry.header));
    // After the metadata the type is the only question left.
    if (metadata && type !== 'unknown') break;
    entry.resume();
  }
  if (!metadata) throw fault.invalid('Metadata tarball is missing metadata.yaml');
  return { metadata, type };
}

const nameOf = (header: Header): string => header.name.replace(/^(\.\/)+/, '').replace(/\/$/, '');

async function textOf(entry: AsyncIterable<Buffer>, header: Header): Promise<string> {
  if ((header.size ?? 0) > metadataMaxBytes) throw fault.invalid('The metadata.yaml of the image is too large');
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function fromSquashfs(path: string): Promise<ReadMetadata> {
  const show = await run('unsquashfs', ['-cat', path, 'metadata.yaml'], { outputMaxBytes: metadataMaxBytes + 4096 });
  if (show.code !== 0 || show.stdout.length === 0) throw fault.invalid('Metadata tarball is missing metadata.yaml');
  const list = await run('unsquashfs', ['-l', '-d', '', path, 'rootfs.img'], { outputMaxBytes: 1024 * 1024 });
  const type = list.stdout.toString().split('\n').includes('/rootfs.img') ? 'virtual-machine' : 'container';
  return { metadata: parseMetadata(show.stdout.toString('utf8')), type };
}
