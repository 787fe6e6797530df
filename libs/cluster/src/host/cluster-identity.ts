import { X509Certificate } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readPair, writePair, type KeyPair } from '#identities/host';
import type { MemberTls } from './call-member.js';

/** Which certificate this member shows: the cluster's while it is a member, else its own. */
export class ClusterIdentity {
  #cluster: KeyPair | undefined;
  #fingerprint: string | undefined;

  constructor(
    private readonly stateDir: string,
    private readonly server: KeyPair,
    clustered: boolean,
  ) {
    this.#cluster = clustered ? readPair(stateDir, 'cluster') : undefined;
  }

  get pair(): KeyPair {
    return this.#cluster ?? this.server;
  }

  get clusterPair(): KeyPair | undefined {
    return this.#cluster;
  }

  /** SHA-256, hex, of what is shown. */
  get fingerprint(): string {
    return (this.#fingerprint ??= new X509Certificate(this.pair.certificate).fingerprint256.replaceAll(':', '').toLowerCase());
  }

  /** For calls of other members; undefined when there are none. */
  get tls(): MemberTls | undefined {
    return this.#cluster && { pinned: this.#cluster.certificate, ...this.#cluster };
  }

  /** Written before it is used. */
  adopt(pair: KeyPair): void {
    writePair(this.stateDir, 'cluster', pair);
    this.#cluster = pair;
    this.#fingerprint = undefined;
  }

  /** The member's own certificate again. */
  drop(): void {
    for (const name of ['cluster.crt', 'cluster.key']) rmSync(join(this.stateDir, name), { force: true });
    this.#cluster = undefined;
    this.#fingerprint = undefined;
  }
}
