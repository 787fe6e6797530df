import type { Operation } from '#api-contract';
import { fault } from '#kit';
import { multipartBody } from '../model/index.js';
import type { ImageRecord } from '../state/index.js';
import type { ImageStore } from './image-store.js';
import { readFile } from './image-store.js';
import { jsonOf, remoteRequest } from './remote-request.js';

/** Sends an image to another server that has given out a secret for it, and waits until it has it. @throws Fault unavailable */
export async function pushImage(store: ImageStore, image: ImageRecord, post: Record<string, unknown>, signal: AbortSignal): Promise<void> {
  const text = (name: string): string => (typeof post[name] === 'string' ? post[name] : '');
  const [server, certificate] = [text('target').replace(/\/$/, ''), text('certificate')];
  const project = text('project') ? `?project=${encodeURIComponent(text('project'))}` : '';
  const files = await store.files(image.fingerprint);
  const headers: Record<string, string> = { 'X-LXD-fingerprint': image.fingerprint, 'X-LXD-secret': text('secret') };
  let body: AsyncIterable<Uint8Array>;
  if (files.rootfsPath) {
    const multipart = multipartBody([
      { name: 'metadata', filename: image.fingerprint, size: files.metaSize, open: () => readFile(files.metaPath) },
      {
        name: image.type === 'virtual-machine' ? 'rootfs.img' : 'rootfs',
        filename: `${image.fingerprint}.rootfs`,
        size: files.rootfsSize!,
        open: () => readFile(files.rootfsPath!),
      },
    ]);
    headers['Content-Type'] = multipart.contentType;
    headers['Content-Length'] = String(multipart.size);
    body = multipart.chunks();
  } else {
    headers['Content-Type'] = 'application/octet-stream';
    headers['X-LXD-filename'] = image.filename;
    headers['Content-Length'] = String(files.metaSize);
    body = readFile(files.metaPath);
  }
  const reply = await remoteRequest(`${server}/1.0/images${project}`, { method: 'POST', headers, certificate, body, signal });
  const envelope = (await jsonOf(reply)) as { metadata?: Operation; error?: string };
  if (reply.statusCode !== 202 || !envelope.metadata)
    throw fault.unavailable(`The image server refuses: ${String(envelope.error).slice(0, 200)}`, { status: 500 });
  const { id, metadata } = envelope.metadata;
  const query = new URLSearchParams({ secret: String(metadata?.['secret'] ?? '') });
  const waited = await jsonOf(await remoteRequest(`${server}/1.0/operations/${id}/wait?${query.toString()}`, { certificate, signal }));
  const { status_code, err } = (waited as { metadata?: Operation }).metadata ?? { status_code: 400, err: 'no answer' };
  if (status_code !== 200) throw fault.unavailable(`The image server could not take the image: ${String(err).slice(0, 200)}`, { status: 500 });
}
