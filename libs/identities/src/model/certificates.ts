import { X509Certificate } from 'node:crypto';
import { fault } from '#kit';

/** client: may use the API; server: another member of the cluster; metrics: may read /1.0/metrics and nothing else. */
export const certificateTypes = ['client', 'server', 'metrics'] as const;
export type CertificateType = (typeof certificateTypes)[number];

/** @throws Fault invalid */
export function checkType(type: string): CertificateType {
  if (!(certificateTypes as readonly string[]).includes(type)) throw fault.invalid('Unknown certificate type');
  return type as CertificateType;
}

/** Lower-case hex SHA-256 of the DER: what LXD calls the fingerprint. */
export const fingerprintOf = (certificate: X509Certificate): string => certificate.fingerprint256.replaceAll(':', '').toLowerCase();

/** A certificate as POST takes it: base64 of the DER; a PEM is taken too, since people paste those. @throws Fault invalid */
export function parseCertificate(text: string): X509Certificate {
  const der = text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64');
  try {
    return new X509Certificate(der);
  } catch {
    throw fault.invalid('Invalid certificate material');
  }
}

/** One PEM block with a newline at its end. */
export const pemOf = (certificate: X509Certificate): string => `${certificate.toString().trim()}\n`;

export const isInForce = (certificate: X509Certificate, now: Date): boolean =>
  now.getTime() >= certificate.validFromDate.getTime() && now.getTime() <= certificate.validToDate.getTime();

/** What may be trusted: in force, and with a key that is not weak. @throws Fault invalid */
export function checkTrustable(certificate: X509Certificate, now: Date): void {
  if (now.getTime() < certificate.validFromDate.getTime()) throw fault.invalid('The provided certificate is not valid yet');
  if (now.getTime() > certificate.validToDate.getTime()) throw fault.invalid('The provided certificate is expired');
  const key = certificate.publicKey;
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (key.asymmetricKeyType === 'rsa' && bits !== undefined && bits < 2048) {
    throw fault.invalid('RSA key is too weak (minimum of 2048bit)');
  }
}

/** The common name of its subject; '' when it has none. */
export const commonName = (certificate: X509Certificate): string => /^CN=(.*)$/m.exec(certificate.subject ?? '')?.[1] ?? '';
