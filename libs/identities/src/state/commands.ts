import { apiUrl, checkEtag, type Certificate } from '#api-contract';
import { fault } from '#kit';
import { defineCommand, type CommandContext } from '#replica/state';
import type { CertificateType } from '../model/index.js';
import { certificate, type CertificateRecord } from './queries.js';
import { CertificateRow } from './tables.js';

export interface NewCertificate {
  fingerprint: string;
  type: CertificateType;
  name: string;
  /** PEM. */
  certificate: string;
  restricted: boolean;
  projects: string[];
}

/** The fields that a certificate's ETag covers: all that the API shows. */
export function certificateEtag({ name, type, restricted, projects, certificate, fingerprint }: Certificate): unknown {
  return [name, type, restricted, projects, certificate, fingerprint];
}

export const addCertificate = defineCommand<NewCertificate>({
  name: 'certificates.add',
  async run(ctx, added) {
    if (ctx.sql.get('SELECT 1 FROM certificates WHERE fingerprint = ?', added.fingerprint)) {
      throw fault.conflict('Certificate already in trust store');
    }
    const id = ctx.nextId('certificates');
    const { fingerprint, type, name } = added;
    await ctx.em.insert(CertificateRow, { id, fingerprint, type, name, certificate: added.certificate, restricted: Number(added.restricted) });
    setProjects(ctx, id, added.projects);
    emit(ctx, 'certificate-created', fingerprint);
  },
});

export interface CertificateUpdate {
  /** Of the certificate that is changed: a prefix will do. */
  fingerprint: string;
  put: NewCertificate;
  ifMatch?: string;
  /** A restricted caller may renew its own certificate, and change nothing else of it. */
  ownOnly?: boolean;
}

export const updateCertificate = defineCommand<CertificateUpdate>({
  name: 'certificates.update',
  async run(ctx, { fingerprint, put, ifMatch, ownOnly }) {
    const current = certificate(ctx.sql, fingerprint);
    checkEtag(ifMatch, certificateEtag(current));
    if (ownOnly && !differsInCertificateOnly(current, put)) throw fault.forbidden('Only the certificate can be changed');
    const taken = put.fingerprint !== current.fingerprint && ctx.sql.get('SELECT 1 FROM certificates WHERE fingerprint = ?', put.fingerprint);
    if (taken) throw fault.conflict('Certificate already in trust store');
    await ctx.em.update(
      CertificateRow,
      { id: current.id },
      { fingerprint: put.fingerprint, type: put.type, name: put.name, certificate: put.certificate, restricted: Number(put.restricted) },
    );
    setProjects(ctx, current.id, put.projects);
    emit(ctx, 'certificate-updated', put.fingerprint);
  },
});

export const removeCertificate = defineCommand<{ fingerprint: string }>({
  name: 'certificates.remove',
  async run(ctx, payload) {
    const { id, fingerprint } = certificate(ctx.sql, payload.fingerprint);
    await ctx.em.delete(CertificateRow, { id });
    emit(ctx, 'certificate-deleted', fingerprint);
  },
});

/** Makes `names` exactly the projects of a certificate. @throws Fault notFound for a project that is not there */
function setProjects(ctx: CommandContext, certificateId: number, names: readonly string[]): void {
  ctx.sql.run('DELETE FROM certificate_projects WHERE certificate_id = ?', certificateId);
  for (const name of new Set(names)) {
    const project = ctx.sql.get<{ id: number }>('SELECT id FROM projects WHERE name = ?', name);
    if (!project) throw fault.notFound('Project not found');
    ctx.sql.run('INSERT INTO certificate_projects (certificate_id, project_id) VALUES (?, ?)', certificateId, project.id);
  }
}

function differsInCertificateOnly(current: CertificateRecord, put: NewCertificate): boolean {
  const key = (of: Omit<NewCertificate, 'certificate' | 'fingerprint'>): string =>
    JSON.stringify([of.name, of.type, of.restricted, [...of.projects].sort()]);
  return key(current) === key(put);
}

function emit(ctx: CommandContext, action: string, fingerprint: string): void {
  ctx.emit({ action, source: apiUrl(['certificates', fingerprint]) });
}
