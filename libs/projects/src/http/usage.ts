import type { Reader } from '#replica/state';
import type { ProjectRecord } from '../state/index.js';

/** Nest token of a ProjectUsage. */
export const PROJECT_USAGE = Symbol('project-usage');

/** Counts what a project's limits are about; known to higher subjects (instances, volumes, networks), so the gateway brings it. */
export interface ProjectUsage {
  /** LXD's names → limit (-1: none) and use. */
  resources(reader: Reader, project: ProjectRecord): Record<string, { Limit: number; Usage: number }>;
}
