import { apiUrl } from '#api-contract';
import type { Warnings } from '#warnings/host';

/** Tells that an instance which should run could not be started. */
export const autostartWarning =
  (warnings: Warnings) =>
  (project: string, name: string, error: unknown): void =>
    warnings.raise('autostartFailed', error instanceof Error ? error.message : String(error), {
      project,
      entityUrl: apiUrl(['instances', name], project),
    });
