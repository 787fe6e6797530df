import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import tls from 'node:tls';
import { Fault, fault, type FaultKind } from '#kit';

/** How the other side is known, and what is shown to it. PEM. */
export interface MemberTls {
  /** The one certificate that is believed. */
  readonly pinned: string;
  readonly certificate?: string;
  readonly key?: string;
}

export interface MemberCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly tls: MemberTls;
  readonly timeoutMs: number;
}

const answerBytesMax = 16 * 2 ** 20;
const kinds: Record<number, FaultKind> = { 400: 'invalid', 403: 'forbidden', 404: 'notFound', 409: 'conflict', 412: 'changed', 503: 'unavailable' };

export function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
}

/** The options of every TLS connection to a member: pinned, whatever name it bears. */
export function tlsOptions({ pinned, certificate, key }: MemberTls): tls.ConnectionOptions {
  return {
    ca: pinned,
    ...(certificate === undefined ? {} : { cert: certificate, key }),
    minVersion: 'TLSv1.3',
    checkServerIdentity: () => undefined,
  };
}

/** One call of another member's API; answers the `metadata`. @throws Fault the other's own words; unavailable when it cannot be reached */
export function callMember(address: string, { method, path, body, tls: known, timeoutMs }: MemberCall): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const unreachable = (cause: unknown): void =>
    reject(fault.unavailable(`Member at ${address} cannot be reached`, { cause, detail: (cause as Error).message }));
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const request = https.request(
    { ...splitAddress(address), method, path, headers, agent: false, signal: AbortSignal.timeout(timeoutMs), ...tlsOptions(known) },
    (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        if ((bytes += chunk.length) > answerBytesMax) request.destroy(new Error('the answer is too long'));
      });
      response.on('error', unreachable);
      response.on('end', () => {
        try {
          resolve(metadataOf(response.statusCode ?? 500, Buffer.concat(chunks).toString()));
        } catch (error) {
          reject(Fault.from(error));
        }
      });
    },
  );
  request.on('error', unreachable);
  request.end(text);
  return promise;
}

function metadataOf(status: number, text: string): unknown {
  const envelope = JSON.parse(text) as { type: string; error: string; metadata: unknown };
  if (envelope.type === 'error') throw new Fault(kinds[status] ?? 'internal', envelope.error, { status });
  return envelope.metadata;
}

/** The answer to a GET of another member's API, its body unread. @throws Fault unavailable when it cannot be reached */
export function streamFromMember(address: string, path: string, known: MemberTls, signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = https.get({ ...splitAddress(address), path, agent: false, ...(signal ? { signal } : {}), ...tlsOptions(known) }, resolve);
    request.on('error', (cause) => reject(fault.unavailable(`Member at ${address} cannot be reached`, { cause })));
  });
}

/** The certificate that is shown at an address, if its fingerprint is the one expected. @throws Fault */
export function certificateAt(address: string, fingerprint: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ ...splitAddress(address), rejectUnauthorized: false, timeout: timeoutMs }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      const shown = certificate?.fingerprint256.replaceAll(':', '').toLowerCase();
      if (certificate && shown === fingerprint.toLowerCase()) resolve(certificate.toString());
      else reject(fault.forbidden('Certificate fingerprint mismatch between join token and cluster member'));
    });
    socket.on('timeout', () => socket.destroy(new Error('timed out')));
    socket.on('error', (cause) => reject(fault.unavailable(`Member at ${address} cannot be reached`, { cause })));
  });
}
