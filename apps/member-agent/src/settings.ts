import { findProject } from '#projects/state';
import type { Reader } from '#replica/state';
import { serverValue } from '#server/state';

/** A key that a project may have for itself (images.*, backups.*): the project's, else the server's, else its default. */
export function settingOf(reader: Reader, key: string, project: string): string {
  return findProject(reader, project)?.config[key] || serverValue(reader, key);
}
