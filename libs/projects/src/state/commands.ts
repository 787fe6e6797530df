import { apiUrl, checkEtag, defaultProject, type ProjectPut } from '#api-contract';
import { isTrue, withoutUnset } from '#config-keys';
import { fault } from '#kit';
import { defineCommand, type CommandContext } from '#replica/state';
import { checkProjectName, featureNames, features, projectKeys } from '../model/index.js';
import { checkProject } from './checks.js';
import { switchFeature } from './features.js';
import { findProject, project, type ProjectRecord } from './queries.js';
import { targetOf, usedBy } from './references.js';
import { ProjectRow } from './tables.js';

/** The fields that a project's ETag covers. */
export const projectEtag = (of: ProjectPut): unknown => [of.description, of.config];

export const createProject = defineCommand<ProjectPut & { name: string }>({
  name: 'projects.create',
  async run(ctx, { name, description, config }) {
    checkProjectName(name);
    projectKeys.validate(config);
    if (findProject(ctx.sql, name)) {
      throw fault.conflict(`Failed creating project "${name}": Failed adding database record: This "projects" entry already exists`);
    }
    await ctx.em.insert(ProjectRow, { id: ctx.nextId('projects'), name, description, config: withoutUnset(config) });
    for (const feature of featureNames) if (isTrue(config[feature])) await switchFeature(ctx, name, feature, true);
    emit(ctx, 'project-created', name);
  },
});

export const updateProject = defineCommand<{ name: string; put: ProjectPut; ifMatch?: string }>({
  name: 'projects.update',
  async run(ctx, { name, put, ifMatch }) {
    const current = project(ctx.sql, name);
    checkEtag(ifMatch, projectEtag(current));
    projectKeys.validate(put.config);
    const switched = featureNames.filter((feature) => (current.config[feature] ?? '') !== (put.config[feature] ?? ''));
    if (switched.length > 0) checkFeatureChange(ctx, current, switched);
    await ctx.em.update(ProjectRow, { id: current.id }, { description: put.description, config: withoutUnset(put.config) });
    for (const feature of switched) {
      const on = isTrue(put.config[feature]);
      if (on !== isTrue(current.config[feature])) await switchFeature(ctx, name, feature, on);
    }
    checkProject(ctx.sql, name);
    emit(ctx, 'project-updated', name);
  },
});

export const renameProject = defineCommand<{ name: string; newName: string }>({
  name: 'projects.rename',
  async run(ctx, { name, newName }) {
    const current = project(ctx.sql, name);
    if (findProject(ctx.sql, newName)) throw fault.conflict(`A project named "${newName}" already exists`);
    if (!isEmpty(ctx, name)) throw fault.conflict('Only empty projects can be renamed');
    checkProjectName(newName);
    for (const feature of featureNames) if (isTrue(current.config[feature])) await switchFeature(ctx, name, feature, false);
    await ctx.em.update(ProjectRow, { id: current.id }, { name: newName });
    for (const feature of featureNames) if (isTrue(current.config[feature])) await switchFeature(ctx, newName, feature, true);
    emit(ctx, 'project-renamed', newName, { old_name: name });
  },
});

export const deleteProject = defineCommand<{ name: string }>({
  name: 'projects.delete',
  async run(ctx, { name }) {
    const current = project(ctx.sql, name);
    if (!isEmpty(ctx, name)) throw fault.conflict('Only empty projects can be removed', { status: 500 });
    for (const feature of featureNames) if (isTrue(current.config[feature])) await switchFeature(ctx, name, feature, false);
    await ctx.em.delete(ProjectRow, { id: current.id });
    emit(ctx, 'project-deleted', name);
  },
});

/** A project that holds nothing but its own default profile counts as empty. */
function isEmpty(ctx: CommandContext, name: string): boolean {
  return usedBy(ctx.sql, targetOf('project', name)).every((url) => url.startsWith('/1.0/profiles/default'));
}

function checkFeatureChange(ctx: CommandContext, current: ProjectRecord, switched: readonly (keyof typeof features)[]): void {
  if (current.name === defaultProject) throw fault.invalid("You can't change the features of the default project");
  if (isEmpty(ctx, current.name)) return;
  for (const feature of switched) {
    if (isTrue(current.config[feature])) throw fault.invalid(`Project feature "${feature}" cannot be disabled on non-empty projects`);
    if (!features[feature].canEnableNonEmpty) throw fault.invalid(`Project feature "${feature}" cannot be enabled on non-empty projects`);
  }
}

function emit(ctx: CommandContext, action: string, name: string, context?: Record<string, unknown>): void {
  ctx.emit({ action, source: apiUrl(['projects', name]), project: name, context });
}
