import { CertificatesController } from './certificates.controller.js';

export { TRUST_SETTINGS, type TrustSettings } from './trust-settings.js';

export const identityControllers = [CertificatesController];
