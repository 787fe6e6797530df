import { X509Certificate } from 'node:crypto';
import { isInForce, type CertificateType } from '#identities/model';
import { certificates } from '#identities/state';
import type { Clock } from '#kit';
import type { ReadPort, WatchPort } from '#replica';

export interface Trusted {
  type: CertificateType;
  /** Projects of a restricted certificate; undefined: all. */
  projects?: readonly string[];
  certificate: X509Certificate;
}

const tables = new Set(['certificates', 'certificate_projects', 'projects']);

/** The trusted certificates by fingerprint, read when first asked for and again after any change of them. */
export class TrustStore implements Disposable {
  /** Rises with every change: whoever keeps an answer keeps this beside it. */
  version = 0;
  #byFingerprint: Map<string, Trusted> | undefined;
  readonly #watch: Disposable;

  constructor(
    private readonly replica: ReadPort & WatchPort,
    private readonly clock: Clock,
  ) {
    this.#watch = replica.watch(({ touched }) => {
      if (touched !== 'everything' && !touched.some(({ table }) => tables.has(table))) return;
      this.version++;
      this.#byFingerprint = undefined;
    });
  }

  find(fingerprint: string): Trusted | undefined {
    const found = (this.#byFingerprint ??= this.#read()).get(fingerprint);
    return found && isInForce(found.certificate, this.clock.now()) ? found : undefined;
  }

  #read(): Map<string, Trusted> {
    const all = certificates(this.replica.reader).map(({ fingerprint, type, restricted, projects, certificate }) => {
      const trusted: Trusted = { type, certificate: new X509Certificate(certificate), ...(restricted ? { projects } : {}) };
      return [fingerprint, trusted] as const;
    });
    return new Map(all);
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }
}
