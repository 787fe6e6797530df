import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { fingerprintOf } from '#identities/model';
import type { Caller } from '#http-kit';
import type { Identity } from '#replica/state';
import { peerCred } from './peer-cred.js';
import { stripForwarded, forwardedIdentity } from './forwarded.js';
import type { TrustStore } from './trust-store.js';
import { userName } from './users.js';

/** A caller, and whether it is a metrics certificate, which is trusted for that one route. */
export interface KnownCaller {
  caller: Caller;
  metrics: boolean;
}

/**
 * Who is behind a connection. The unix socket is an administrator (the file's mode decides who can open it); a TLS client is what the trust store says of
 * its certificate. Kept per connection until the trust store changes.
 */
export class Callers {
  readonly #known = new WeakMap<Socket, KnownCaller & { version: number }>();

  constructor(
    private readonly trust: TrustStore,
    /** Fingerprint of the cluster's certificate; undefined where there is no cluster. */
    private readonly clusterFingerprint: () => string | undefined = () => undefined,
  ) {}

  /** @param readable false while there is no database to look in: nobody is trusted over TLS then, and nothing is kept */
  of(request: IncomingMessage, readable = true): KnownCaller {
    const socket = request.socket;
    if (!readable) return socket instanceof TLSSocket ? guest(addressOf(socket)) : local(socket);
    let known = this.#known.get(socket);
    if (!known || known.version !== this.trust.version) {
      known = { ...(socket instanceof TLSSocket ? this.#tls(socket) : local(socket)), version: this.trust.version };
      this.#known.set(socket, known);
    }
    if (known.caller.identity.protocol !== 'cluster') {
      stripForwarded(request.headers);
      return known;
    }
    const identity = forwardedIdentity(request.headers);
    return identity ? this.#forwarded(identity) : known;
  }

  /** True on a connection of another member. */
  speaksForOthers(request: IncomingMessage): boolean {
    return this.#known.get(request.socket)?.caller.identity.protocol === 'cluster';
  }

  /** Whom another member speaks for: with the rights that this member's own trust store gives, and no more. */
  #forwarded(identity: Identity): KnownCaller {
    if (identity.protocol === 'unix') return { caller: { identity, trusted: true, admin: true, local: false }, metrics: false };
    return this.#certified(identity.username, identity.address, { local: false, ...(identity.username ? { fingerprint: identity.username } : {}) });
  }

  #tls(socket: TLSSocket): KnownCaller {
    const address = addressOf(socket);
    const certificate = socket.getPeerX509Certificate();
    if (!certificate) return guest(address);
    const fingerprint = fingerprintOf(certificate);
    const shown = { fingerprint, certificate: certificate.raw, local: false };
    if (fingerprint === this.clusterFingerprint()) {
      return { caller: { identity: { protocol: 'cluster', username: fingerprint, address }, trusted: true, admin: true, ...shown }, metrics: false };
    }
    return this.#certified(fingerprint, address, shown);
  }

  #certified(fingerprint: string, address: string, shown: Pick<Caller, 'local' | 'fingerprint' | 'certificate'>): KnownCaller {
    const trusted = this.trust.find(fingerprint);
    switch (trusted?.type) {
      case undefined:
        return { caller: { ...guest(address).caller, ...shown }, metrics: false };
      case 'server':
        return {
          caller: { identity: { protocol: 'tls', username: fingerprint, address }, trusted: true, admin: true, ...shown },
          metrics: false,
        };
      case 'metrics':
        return { caller: { identity: { protocol: 'tls', username: fingerprint, address }, trusted: false, admin: false, ...shown }, metrics: true };
      case 'client': {
        const identity = { protocol: 'tls', username: fingerprint, address } as const;
        const { projects } = trusted;
        return { caller: { identity, trusted: true, admin: projects === undefined, ...(projects ? { projects } : {}), ...shown }, metrics: false };
      }
    }
  }
}

function local(socket: Socket): KnownCaller {
  const uid = peerCred(socket)?.uid;
  const username = uid === undefined ? '' : userName(uid);
  return { caller: { identity: { protocol: 'unix', username, address: '@' }, trusted: true, admin: true, local: true }, metrics: false };
}

const guest = (address: string): KnownCaller => ({
  caller: { identity: { protocol: 'tls', username: '', address }, trusted: false, admin: false, local: false },
  metrics: false,
});

function addressOf({ remoteAddress = '', remotePort = 0, remoteFamily }: Socket): string {
  return remoteFamily === 'IPv6' ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}
