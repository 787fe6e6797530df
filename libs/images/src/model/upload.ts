import { isTrue } from '#config-keys';
import { fault } from '#kit';
import { isFingerprint } from './fingerprints.js';

/** What an upload says about itself in headers. */
export interface UploadHeaders {
  public: boolean;
  /** Of a unified image; split ones have it in their part. */
  filename: string;
  properties: Record<string, string>;
  profiles?: string[];
  /** '' or what the upload must hash to. */
  fingerprint: string;
  /** Of a token that stands for a client's right to upload. */
  secret: string;
}

/** @throws Fault invalid */
export function uploadHeaders(headers: Record<string, string | string[] | undefined>): UploadHeaders {
  const one = (name: string): string => {
    const value = headers[name];
    return Array.isArray(value) ? (value[0] ?? '') : (value ?? '');
  };
  const properties: Record<string, string> = {};
  for (const [key, value] of new URLSearchParams(one('x-lxd-properties'))) properties[key] ??= value;
  const profiles = headers['x-lxd-profiles'] === undefined ? undefined : new URLSearchParams(one('x-lxd-profiles')).getAll('profile');
  const fingerprint = one('x-lxd-fingerprint');
  if (fingerprint !== '' && !isFingerprint(fingerprint)) throw fault.invalid('Invalid X-LXD-fingerprint: not a SHA-256');
  return {
    public: isTrue(one('x-lxd-public')),
    filename: one('x-lxd-filename').slice(0, 255),
    properties,
    profiles,
    fingerprint,
    secret: one('x-lxd-secret'),
  };
}

/** The boundary of a multipart upload; undefined when it is none. @throws Fault invalid */
export function multipartBoundary(contentType: string | undefined): string | undefined {
  const [type, ...parameters] = (contentType ?? '').split(';').map((word) => word.trim());
  if (type?.toLowerCase() !== 'multipart/form-data') return undefined;
  const found = parameters.map((parameter) => /^boundary=(?:"([^"]{1,200})"|([^\s"]{1,200}))$/i.exec(parameter)).find(Boolean);
  const boundary = found?.[1] ?? found?.[2];
  if (!boundary) throw fault.invalid('Invalid multipart image');
  return boundary;
}
