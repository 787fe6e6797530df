import type { Certificate } from '#api-contract';
import { fault } from '#kit';
import type { Reader } from '#replica/state';
import type { CertificateType } from '../model/index.js';

export interface CertificateRecord extends Certificate {
  id: number;
  type: CertificateType;
}

interface Row {
  id: number;
  fingerprint: string;
  type: CertificateType;
  name: string;
  certificate: string;
  restricted: number;
}

const columns = 'id, fingerprint, type, name, certificate, restricted';

export function certificates(reader: Reader): CertificateRecord[] {
  const projects = new Map<number, string[]>();
  const pairs = reader.all<{ id: number; name: string }>(
    'SELECT cp.certificate_id AS id, p.name FROM certificate_projects cp JOIN projects p ON p.id = cp.project_id ORDER BY p.name',
  );
  for (const { id, name } of pairs) projects.set(id, [...(projects.get(id) ?? []), name]);
  return reader.all<Row>(`SELECT ${columns} FROM certificates ORDER BY fingerprint`).map((row) => fromRow(row, projects.get(row.id) ?? []));
}

/**
 * The certificate with this fingerprint, or the only one that begins so.
 * @throws Fault notFound; invalid when several begin so
 */
export function certificate(reader: Reader, prefix: string): CertificateRecord {
  // LIKE would take % and _ for patterns, and lengthen the search: hex digits only.
  const rows = /^[0-9a-fA-F]{1,64}$/.test(prefix)
    ? reader.all<Row>(
        `SELECT ${columns} FROM certificates WHERE fingerprint >= ? AND fingerprint < ? ORDER BY fingerprint LIMIT 2`,
        prefix.toLowerCase(),
        `${prefix.toLowerCase()}g`,
      )
    : [];
  if (rows.length === 0) throw fault.notFound('Certificate not found');
  if (rows.length > 1) throw fault.invalid('More than one certificate matches');
  const projects = reader.all<{ name: string }>(
    'SELECT p.name FROM certificate_projects cp JOIN projects p ON p.id = cp.project_id WHERE cp.certificate_id = ? ORDER BY p.name',
    rows[0]!.id,
  );
  return fromRow(
    rows[0]!,
    projects.map(({ name }) => name),
  );
}

const fromRow = (row: Row, projects: string[]): CertificateRecord => ({ ...row, restricted: row.restricted !== 0, projects });
