import { SetMetadata } from '@nestjs/common';
import type { Access } from './route.js';

export interface UpgradeOptions {
  path: string;
  access: Access;
}

export const upgradeOptionsKey = 'muster:upgrade';

/**
 * A route that takes over the connection: `@UpgradeRoute('/1.0/events', { access: 'trusted' })` on a controller's method
 * `(request: ApiRequest, upgrade: Upgrade) => void | Promise<void>` (Upgrade of #members: the request before its handshake). The gateway has checked the
 * caller as for any route, `request.body` is {}. A fault thrown before the method writes to the socket is answered as on any route.
 */
export function UpgradeRoute(path: string, options: { access: Access }): MethodDecorator {
  return SetMetadata(upgradeOptionsKey, { path, ...options } satisfies UpgradeOptions);
}
