import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { WebSocket } from 'ws';
import { fault } from '#kit';

const handshakeMs = 10_000;

/** Where the other server waits with its websockets. */
export interface OperationAddress {
  /** https://HOST:PORT/1.0/operations/UUID */
  url: string;
  /** PEM of the one certificate that the server may show; '': any that the system's authorities vouch for. */
  certificate: string;
  secrets: Readonly<Record<string, string>>;
}

/** Connects to one websocket of another server's operation; the secret is all that it asks for. @throws Fault invalid, unavailable */
export async function dial({ url, certificate, secrets }: OperationAddress, name: string): Promise<WebSocket> {
  const secret = secrets[name];
  if (!secret) throw fault.invalid(`Missing ${name} secret`, { status: 500 });
  const target = parse(url);
  target.searchParams.set('secret', secret);
  const socket = new WebSocket(target, { handshakeTimeout: handshakeMs, perMessageDeflate: false, maxPayload: 16 * 2 ** 20, ...pinned(certificate) });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', (error) =>
      reject(fault.unavailable(`Failed to connect to the ${name} websocket of ${target.host}`, { cause: error, detail: String(error), status: 500 })),
    );
  });
  return socket;
}

function parse(url: string): URL {
  let target: URL;
  try {
    target = new URL(`${url.replace(/\/$/, '')}/websocket`);
  } catch {
    throw fault.invalid(`Invalid operation URL "${url}"`);
  }
  if (target.protocol !== 'https:') throw fault.invalid(`Invalid operation URL "${url}"`);
  target.protocol = 'wss:';
  return target;
}

function pinned(certificate: string): Record<string, unknown> {
  if (certificate === '') return {};
  let expected: string;
  try {
    expected = new X509Certificate(certificate).fingerprint256;
  } catch {
    throw fault.invalid('Invalid certificate', { status: 500 });
  }
  return {
    ca: [certificate],
    checkServerIdentity: (_host: string, shown: PeerCertificate) =>
      shown.fingerprint256 === expected ? undefined : new Error('the server shows another certificate'),
  };
}
