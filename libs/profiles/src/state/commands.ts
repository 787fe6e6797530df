import { apiUrl, checkEtag, defaultProject, type DevicesMap, type ProfilePut } from '#api-contract';
import { devicesWithoutUnset, isTrue, withoutUnset } from '#config-keys';
import { fault } from '#kit';
import { checkProject, effectiveProject, isUsed, onFeature, projects, renameTarget, setReferences, targetOf } from '#projects/state';
import { defineCommand, type CommandContext } from '#replica/state';
import { checkProfileName, devicesUse } from '../model/index.js';
import { findProfile, profile } from './queries.js';
import { ProfileRow } from './tables.js';

/** The fields that a profile's ETag covers. */
export const profileEtag = (of: ProfilePut): unknown => [of.config, of.description, of.devices];

/** In all of these `project` is the effective one: the project itself, or default where it lacks features.profiles. */
export const createProfile = defineCommand<ProfilePut & { project: string; name: string }>({
  name: 'profiles.create',
  async run(ctx, { project, name, ...put }) {
    checkProfileName(name);
    if (findProfile(ctx.sql, project, name)) {
      throw fault.conflict(`Error inserting "${name}" into database: The profile already exists`, { status: 500 });
    }
    await insertProfile(ctx, project, name, put);
    emit(ctx, 'profile-created', project, name);
  },
});

/** `merge`: what is not given stays, keys and devices one by one. Merged here, of what is there now, so that of many PATCHes at once none undoes another. */
export const updateProfile = defineCommand<{ project: string; name: string; put: Partial<ProfilePut>; merge?: boolean; ifMatch?: string }>({
  name: 'profiles.update',
  run(ctx, { project, name, put, merge = false, ifMatch }) {
    const current = profile(ctx.sql, project, name);
    checkEtag(ifMatch, profileEtag(current));
    const base = merge ? current : { description: '', config: {}, devices: {} };
    const description = put.description ?? base.description;
    const config = { ...base.config, ...put.config };
    const devices = { ...base.devices, ...put.devices };
    // Plain SQL: profile updates are a hot command (a script that patches a hundred of them).
    ctx.sql.run(
      'UPDATE profiles SET description = ?, config = ?, devices = ? WHERE id = ?',
      description,
      JSON.stringify(withoutUnset(config)),
      JSON.stringify(devicesWithoutUnset(devices)),
      current.id,
    );
    refer(ctx, current.id, project, name, devices);
    for (const user of projectsWith(ctx, project)) checkProject(ctx.sql, user);
    emit(ctx, 'profile-updated', project, name);
  },
});

export const renameProfile = defineCommand<{ project: string; name: string; newName: string }>({
  name: 'profiles.rename',
  async run(ctx, { project, name, newName }) {
    const current = profile(ctx.sql, project, name);
    checkProfileName(newName);
    if (findProfile(ctx.sql, project, newName)) throw fault.conflict(`Name "${newName}" already in use`);
    await ctx.em.update(ProfileRow, { id: current.id }, { name: newName });
    renameTarget(ctx, targetOf('profile', project, name), targetOf('profile', project, newName));
    refer(ctx, current.id, project, newName, current.devices);
    emit(ctx, 'profile-renamed', project, newName, { old_name: name });
  },
});

export const deleteProfile = defineCommand<{ project: string; name: string }>({
  name: 'profiles.delete',
  async run(ctx, { project, name }) {
    const current = profile(ctx.sql, project, name);
    if (isUsed(ctx.sql, targetOf('profile', project, name))) throw fault.invalid('Profile is currently in use');
    await removeProfile(ctx, current.id);
    emit(ctx, 'profile-deleted', project, name);
  },
});

onFeature('features.profiles', {
  enabled: (ctx, project) =>
    insertProfile(ctx, project, 'default', { description: `Default LXD profile for project ${project}`, config: {}, devices: {} }),
  async disabled(ctx, project) {
    for (const { id } of ctx.sql.all<{ id: number }>('SELECT id FROM profiles WHERE project = ?', project)) await removeProfile(ctx, id);
  },
});

async function insertProfile(ctx: CommandContext, project: string, name: string, { description, config, devices }: ProfilePut): Promise<void> {
  const id = ctx.nextId('profiles');
  await ctx.em.insert(ProfileRow, { id, project, name, description, config: withoutUnset(config), devices: devicesWithoutUnset(devices) });
  refer(ctx, id, project, name, devices);
}

async function removeProfile(ctx: CommandContext, id: number): Promise<void> {
  setReferences(ctx, { kind: 'profile', id, url: '' }, []);
  await ctx.em.delete(ProfileRow, { id });
}

/** The projects whose instances use the profiles of a project: itself, and with default those that have none of their own. */
function projectsWith(ctx: CommandContext, project: string): string[] {
  if (project !== defaultProject) return [project];
  return projects(ctx.sql)
    .filter(({ name, config }) => name === defaultProject || !isTrue(config['features.profiles']))
    .map(({ name }) => name);
}

function refer(ctx: CommandContext, id: number, project: string, name: string, devices: DevicesMap): void {
  const { pools, networks } = devicesUse(devices);
  const networkProject = project === defaultProject ? project : effectiveProject(ctx.sql, project, 'features.networks');
  setReferences(ctx, { kind: 'profile', id, url: apiUrl(['profiles', name], project) }, [
    targetOf('project', project),
    ...pools.map((pool) => targetOf('pool', pool)),
    ...networks.map((network) => targetOf('network', networkProject, network)),
  ]);
}

function emit(ctx: CommandContext, action: string, project: string, name: string, context?: Record<string, unknown>): void {
  ctx.emit({ action, source: apiUrl(['profiles', name], project), project, context });
}
