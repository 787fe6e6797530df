import type { Readable } from 'node:stream';
import { type Body, reply, type Reply } from '#http-kit';
import { fault } from '#kit';
import type { CreateBackupRequest, ExportBackupReply, Members } from '#members';
import { project } from '#projects/state';
import type { Reader } from '#replica/state';
import { parseCompression } from '#images/model';
import { checkBackupName } from '../model/index.js';

/** The body of a new backup. @throws Fault invalid; forbidden where the project has none */
export function backupRequest(reader: Reader, projectName: string, body: Body, only: readonly string[]): Omit<CreateBackupRequest, 'owner'> {
  const { config } = project(reader, projectName);
  if (config['restricted'] === 'true' && (config['restricted.backups'] ?? 'block') === 'block')
    throw fault.forbidden(`Project "${projectName}" doesn't allow for backup creation`, { status: 500 });
  const name = body.string('name');
  if (name !== '') checkBackupName(name);
  const compression = body.string('compression_algorithm');
  if (compression !== '') parseCompression(compression);
  return {
    name,
    expiresAt: timeOf(body.string('expires_at')),
    only: only.some((field) => body.boolean(field)),
    optimized: body.boolean('optimized_storage'),
    compression,
  };
}

/** '' and the zero time: never. @throws Fault invalid */
function timeOf(text: string): string {
  if (text === '' || text.startsWith('0001-01-01')) return '';
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw fault.invalid(`Invalid time "${text}"`);
  return at.toISOString();
}

/** The file of a backup as the body of the answer. */
export const exported = ({ streams }: Members, { ticket, size, modifiedMs }: ExportBackupReply): Reply =>
  reply.raw(streams.open(ticket) as Readable, {
    'content-type': 'application/octet-stream',
    'content-length': String(size),
    'content-disposition': 'inline;filename=',
    'last-modified': new Date(modifiedMs).toUTCString(),
  });
