import { fault } from '#kit';
import { architectureName, isFingerprintPrefix } from '../model/index.js';
import type { RemoteImage } from './image-host.js';
import { writeResponse, type FoundImage } from './lxd-source.js';
import { jsonOf, remoteRequest } from './remote-request.js';

interface Item {
  ftype?: string;
  path?: string;
  size?: number;
  combined_sha256?: string;
  combined_squashfs_sha256?: string;
  combined_rootxz_sha256?: string;
  sha256?: string;
}

interface Product {
  aliases?: string;
  arch?: string;
  os?: string;
  release?: string;
  release_title?: string;
  variant?: string;
  version?: string;
  requirements?: Record<string, string>;
  versions?: Record<string, { items?: Record<string, Item>; label?: string }>;
}

interface Candidate {
  fingerprint: string;
  /** Paths below the server's URL: one of a unified image, or metadata and rootfs. */
  paths: [string, string?];
  product: Product;
  serial: string;
  /** Of its product's versions the newest: aliases name it. */
  newest: boolean;
}

/**
 * An image of a simplestreams server (streams/v1/index.json), by alias (`alpine/3.18`, with the architecture's name behind it or not) or by fingerprint. Containers only:
 * squashfs where there is one, else the xz tarball. @throws Fault notFound, unavailable
 */
export async function findOnSimplestreams(remote: RemoteImage, architectures: readonly string[], signal?: AbortSignal): Promise<FoundImage> {
  const base = remote.server.replace(/\/$/, '');
  const get = async (path: string): Promise<unknown> => {
    const response = await remoteRequest(`${base}/${path}`, { certificate: remote.certificate, signal });
    if (response.statusCode !== 200) throw fault.unavailable(`The image server refuses ${path} (status ${response.statusCode})`, { status: 500 });
    return jsonOf(response);
  };
  const { index = {} } = (await get('streams/v1/index.json')) as { index?: Record<string, { datatype?: string; path?: string }> };
  for (const { datatype, path } of Object.values(index)) {
    if (datatype !== 'image-downloads' || !path) continue;
    const { products = {} } = (await get(path)) as { products?: Record<string, Product> };
    const candidates = Object.values(products).flatMap(candidatesOf);
    for (const architecture of architectures) {
      const match = candidates.find((candidate) => nameOf(candidate.product.arch) === architecture && matches(candidate, remote.name));
      if (match) return found(match, remote, base);
    }
  }
  throw fault.notFound(`Image "${remote.name}" not found on ${base}`);
}

function nameOf(arch: string | undefined): string | undefined {
  try {
    return architectureName(arch ?? '');
  } catch {
    return undefined;
  }
}

function candidatesOf(product: Product): Candidate[] {
  const serials = Object.keys(product.versions ?? {})
    .filter((serial) => /^\d{8}/.test(serial))
    .sort()
    .reverse();
  return serials.flatMap((serial, age) => {
    const items = Object.values(product.versions![serial]!.items ?? {});
    const itemOf = (ftype: string): Item | undefined => items.find((item) => item.ftype === ftype && item.path);
    const one = (fingerprint: string | undefined, ...paths: Candidate['paths']): Candidate[] =>
      fingerprint ? [{ fingerprint, paths, product, serial, newest: age === 0 }] : [];
    const meta = itemOf('lxd.tar.xz');
    const [squashfs, rootXz, unified] = [itemOf('squashfs'), itemOf('root.tar.xz'), itemOf('lxd_combined.tar.gz')];
    return [
      ...(meta && squashfs ? one(meta.combined_squashfs_sha256, meta.path!, squashfs.path) : []),
      ...(meta && rootXz ? one(meta.combined_rootxz_sha256 ?? meta.combined_sha256, meta.path!, rootXz.path) : []),
      ...(unified ? one(unified.sha256, unified.path!) : []),
    ];
  });
}

function matches({ fingerprint, product, newest }: Candidate, name: string): boolean {
  if (name.length >= 12 && isFingerprintPrefix(name) && fingerprint.startsWith(name)) return true;
  if (!newest) return false;
  const aliases = (product.aliases ?? '').split(',').map((alias) => alias.trim());
  return aliases.some(
    (alias) => alias !== '' && (alias === name || `${alias}/${product.arch}` === name || `${alias}/${nameOf(product.arch)}` === name),
  );
}

function found({ fingerprint, paths, product, serial }: Candidate, remote: RemoteImage, base: string): FoundImage {
  const { os = '', release = '', release_title = '', variant = '', version = '', arch = '', requirements = {} } = product;
  const described = [os, release_title || release, arch, variant && variant !== 'default' ? variant : '', `(${serial})`].filter(Boolean).join(' ');
  const given = { architecture: arch, description: described, os, release, serial, variant, version };
  return {
    fingerprint,
    filename: paths.at(-1)!.slice(paths.at(-1)!.lastIndexOf('/') + 1),
    properties: {
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== '')),
      ...Object.fromEntries(Object.entries(requirements).map(([key, value]) => [`requirements.${key}`, String(value)])),
    },
    type: 'container',
    expiresAt: '',
    source: { server: base, protocol: 'simplestreams', certificate: remote.certificate, alias: remote.name, image_type: remote.imageType },
    async download(into, options) {
      for (const path of paths) {
        if (path === undefined) continue;
        await writeResponse(into, await remoteRequest(`${base}/${path}`, { certificate: remote.certificate, signal: options.signal }), options);
      }
      return { filename: '', type: paths[1] === undefined ? undefined : 'container' };
    },
  };
}
