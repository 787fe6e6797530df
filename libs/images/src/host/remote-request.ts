import { X509Certificate } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { PeerCertificate } from 'node:tls';
import { fault } from '#kit';

export interface RemoteOptions {
  method?: string;
  headers?: Record<string, string>;
  /** PEM of the one certificate that the server may show; '': any that the system's authorities vouch for. */
  certificate?: string;
  body?: string | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}

const silenceMs = 60_000;
const redirectsMax = 5;

/** A request to another server; gives the response once its head is there. @throws Fault unavailable, invalid for a URL that is none */
export async function remoteRequest(url: string, options: RemoteOptions = {}, redirects = 0): Promise<http.IncomingMessage> {
  const target = parseUrl(url);
  const secure = target.protocol === 'https:';
  const tls = secure ? pinned(options.certificate ?? '') : {};
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const headers = { 'user-agent': 'LXD 5.0.2', ...options.headers };
    const request = (secure ? https : http).request(target, {
      method: options.method ?? 'GET',
      headers,
      signal: options.signal,
      timeout: silenceMs,
      agent: false,
      ...tls,
    });
    request.on('timeout', () => request.destroy(new Error('silent for too long')));
    request.on('error', (error) => reject(fault.unavailable(`Failed to reach ${target.host}`, { cause: error, detail: String(error), status: 500 })));
    request.on('response', resolve);
    void send(request, options.body).catch((error: unknown) => request.destroy(error as Error));
  });
  const location = response.headers.location;
  if (location && [301, 302, 303, 307, 308].includes(response.statusCode ?? 0) && options.body === undefined) {
    response.resume();
    if (redirects === redirectsMax) throw fault.unavailable(`Too many redirects from ${target.host}`, { status: 500 });
    return remoteRequest(new URL(location, target).href, options, redirects + 1);
  }
  return response;
}

async function send(request: http.ClientRequest, body: RemoteOptions['body']): Promise<void> {
  if (body === undefined || typeof body === 'string') {
    request.end(body);
    return;
  }
  for await (const chunk of body) if (!request.write(chunk)) await new Promise((resolve) => request.once('drain', resolve));
  request.end();
}

function parseUrl(url: string): URL {
  let target: URL;
  try {
    target = new URL(url);
  } catch {
    throw fault.invalid(`Invalid URL "${url}"`);
  }
  if (target.protocol !== 'https:' && target.protocol !== 'http:') throw fault.invalid(`Invalid URL "${url}"`);
  return target;
}

function pinned(certificate: string): https.RequestOptions {
  if (certificate === '') return {};
  let expected: string;
  try {
    expected = new X509Certificate(certificate).fingerprint256;
  } catch {
    throw fault.invalid('Invalid certificate');
  }
  return {
    ca: [certificate],
    // The certificate itself is what we trust: its name says nothing.
    checkServerIdentity: (_host: string, shown: PeerCertificate) =>
      shown.fingerprint256 === expected ? undefined : new Error('the server shows another certificate'),
  };
}

/** A JSON body of at most 16 MiB. @throws Fault unavailable, invalid */
export async function jsonOf(response: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > 16 * 1024 * 1024) throw fault.unavailable('The server answers with too much', { status: 500 });
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw fault.unavailable(`The server answers with something other than JSON (status ${response.statusCode})`, { status: 500 });
  }
}
