import type { IncomingMessage } from 'node:http';
import { fault } from '#kit';
import type { RemoteImage } from './image-host.js';
import { multipartBoundary } from '../model/index.js';
import type { Incoming } from './image-store.js';
import { writeBody, type Upload } from './image-upload.js';
import { jsonOf, remoteRequest } from './remote-request.js';
import type { ImageSourceRecord } from '../state/index.js';

/** What another server says of an image, and how to get it. */
export interface FoundImage {
  fingerprint: string;
  filename: string;
  properties: Record<string, string>;
  type: string;
  expiresAt: string;
  /** For updates; undefined where there is nothing to follow. */
  source?: ImageSourceRecord;
  /** Writes the bytes: first the unified image or the metadata, then the rootfs. `onBytes` hears how many are through, and of how many if that is known. */
  download(into: Incoming, options: DownloadOptions): Promise<{ filename: string; type?: Upload['type'] }>;
}

export interface DownloadOptions {
  signal?: AbortSignal;
  onBytes?: (bytes: number, total?: number) => void;
}

interface RemoteDocument {
  fingerprint: string;
  filename?: string;
  properties?: Record<string, string>;
  type?: string;
  expires_at?: string;
}

/** An image of an LXD or Muster server: by alias, or by (the beginning of) its fingerprint; private ones by a secret. @throws Fault notFound, unavailable */
export async function findOnLxd(remote: RemoteImage, signal?: AbortSignal): Promise<FoundImage> {
  const base = remote.server.replace(/\/$/, '');
  const query = (values: Record<string, string>): string => {
    const set = new URLSearchParams(
      Object.entries({ ...values, ...(remote.project && remote.project !== 'default' ? { project: remote.project } : {}) }).filter(
        ([, value]) => value,
      ),
    );
    return set.size > 0 ? `?${set.toString()}` : '';
  };
  const get = async (path: string): Promise<unknown> => {
    const response = await remoteRequest(`${base}${path}`, { certificate: remote.certificate, signal });
    const envelope = (await jsonOf(response)) as { metadata?: unknown; error?: string };
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw fault.unavailable(`The image server refuses: ${String(envelope.error).slice(0, 200)}`, { status: 500 });
    return envelope.metadata;
  };
  const aliasDocument = (await get(`/1.0/images/aliases/${encodeURIComponent(remote.name)}${query({})}`)) as { target?: string } | undefined;
  const wanted = aliasDocument?.target ?? remote.name;
  const document = (await get(`/1.0/images/${encodeURIComponent(wanted)}${query({ secret: remote.secret })}`)) as RemoteDocument | undefined;
  if (!document || typeof document.fingerprint !== 'string') throw fault.notFound(`Image "${remote.name}" not found on ${base}`);
  const { fingerprint } = document;
  return {
    fingerprint,
    filename: document.filename ?? '',
    properties: document.properties ?? {},
    type: document.type ?? 'container',
    expiresAt: document.expires_at ?? '',
    source: {
      server: base,
      protocol: 'lxd',
      certificate: remote.certificate,
      alias: aliasDocument ? remote.name : fingerprint,
      image_type: remote.imageType,
    },
    async download(into, options) {
      const path = `/1.0/images/${fingerprint}/export${query({ secret: remote.secret })}`;
      return writeResponse(into, await remoteRequest(`${base}${path}`, { certificate: remote.certificate, signal: options.signal }), options);
    },
  };
}

/** An image behind a URL of its own: a HEAD tells where it lies and what it hashes to. @throws Fault invalid, unavailable */
export async function findByUrl(url: string, architectures: readonly string[], signal?: AbortSignal): Promise<FoundImage> {
  const headers = { 'LXD-Server-Architectures': architectures.join(', '), 'LXD-Server-Version': '5.0.2' };
  const head = await remoteRequest(url, { method: 'HEAD', headers, signal });
  head.resume();
  const one = (name: string): string => String(head.headers[name] ?? '');
  const [fingerprint, location] = [one('lxd-image-hash'), one('lxd-image-url')];
  if (fingerprint === '') throw fault.invalid('Missing LXD-Image-Hash header');
  if (location === '') throw fault.invalid('Missing LXD-Image-URL header');
  return {
    fingerprint,
    filename: location.slice(location.lastIndexOf('/') + 1),
    properties: {},
    type: 'container',
    expiresAt: '',
    download: async (into, options) => writeResponse(into, await remoteRequest(location, { headers, signal: options.signal }), options),
  };
}

/** The body of a download. @throws Fault unavailable when it is refused or breaks off */
export async function writeResponse(
  into: Incoming,
  response: IncomingMessage,
  { onBytes }: DownloadOptions,
): Promise<{ filename: string; type?: Upload['type'] }> {
  if (response.statusCode !== 200) {
    response.resume();
    throw fault.unavailable(`The image server refuses the download (status ${response.statusCode})`, { status: 500 });
  }
  const total = Number(response.headers['content-length']) || undefined;
  try {
    return await writeBody(into, response, multipartBoundary(response.headers['content-type']), (bytes) => onBytes?.(bytes, total));
  } finally {
    response.destroy();
  }
}
