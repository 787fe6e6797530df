import type { StateWing } from '#replica/state';
import { createProject, deleteProject, renameProject, updateProject } from './commands.js';
import { ProjectRow, ReferenceRow, projectMigrations } from './tables.js';

export { checkProject, onProjectCheck, type Addition, type ProjectCheck } from './checks.js';
export * from './commands.js';
export { onFeature, type FeatureSteps } from './features.js';
export * from './queries.js';
export * from './references.js';

export const projectsState: StateWing = {
  subject: 'projects',
  entities: [ProjectRow, ReferenceRow],
  migrations: projectMigrations,
  commands: [createProject, updateProject, renameProject, deleteProject],
};
