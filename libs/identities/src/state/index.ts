import type { StateWing } from '#replica/state';
import { addCertificate, removeCertificate, updateCertificate } from './commands.js';
import { CertificateProjectRow, CertificateRow, identityMigrations } from './tables.js';

export * from './commands.js';
export * from './queries.js';

export const identitiesState: StateWing = {
  subject: 'identities',
  entities: [CertificateRow, CertificateProjectRow],
  migrations: identityMigrations,
  commands: [addCertificate, updateCertificate, removeCertificate],
};
