import { apiUrl, checkEtag, epoch, zeroTime } from '#api-contract';
import { fault } from '#kit';
import { findProfile } from '#profiles/state';
import { checkProject, effectiveProject, setReferences, targetOf } from '#projects/state';
import { defineCommand, type CommandContext } from '#replica/state';
import { checkAliasName, isFingerprint } from '../model/index.js';
import { alias, aliasEtag, findAlias, findImage, image, imageEtag, imagesEverywhere, type ImageRecord, type ImageSourceRecord } from './queries.js';
import { ImageAliasRow, ImageRow } from './tables.js';

export interface NewImage {
  project: string;
  fingerprint: string;
  filename: string;
  size: number;
  public: boolean;
  autoUpdate: boolean;
  architecture: string;
  type: string;
  cached?: boolean;
  createdAt: string;
  /** '': never. */
  expiresAt: string;
  properties: Record<string, string>;
  source?: ImageSourceRecord;
  aliases: { name: string; description: string }[];
  /** Names of profiles of `profileProject` (by default the image's own); its default profile when absent. */
  profiles?: string[];
  profileProject?: string;
  memberId: number;
}

/** The files are on the member. In all of these `project` is the effective one. */
export const createImage = defineCommand<NewImage>({
  name: 'images.create',
  async run(ctx, given) {
    const { project, fingerprint } = given;
    if (!isFingerprint(fingerprint)) throw fault.invalid('Invalid image fingerprint');
    ctx.sql.run('INSERT OR IGNORE INTO images_members (fingerprint, member_id) VALUES (?, ?)', fingerprint, given.memberId);
    if (findImage(ctx.sql, project, fingerprint)) throw fault.conflict('Image with same fingerprint already exists');
    checkProject(ctx.sql, project, { imageBytes: given.size });
    const id = ctx.nextId('images');
    await ctx.em.insert(ImageRow, {
      id,
      project,
      fingerprint,
      filename: given.filename,
      size: given.size,
      public: Number(given.public),
      autoUpdate: Number(given.autoUpdate),
      architecture: given.architecture,
      type: given.type,
      cached: Number(given.cached ?? false),
      createdAt: given.createdAt,
      expiresAt: timeOf(given.expiresAt),
      lastUsedAt: '',
      uploadedAt: ctx.now.toISOString(),
      properties: given.properties,
      source: given.source ? JSON.stringify(given.source) : '',
    });
    setReferences(ctx, { kind: 'image', id, url: apiUrl(['images', fingerprint], project) }, [
      targetOf('project', project),
      targetOf('image', fingerprint),
    ]);
    setProfiles(ctx, id, given.profileProject ?? project, given.profiles ?? ['default'], given.profiles !== undefined);
    for (const { name, description } of given.aliases) {
      checkAliasName(name);
      if (findAlias(ctx.sql, project, name)) throw fault.conflict(`Alias already exists: ${name}`);
      await ctx.em.insert(ImageAliasRow, { id: ctx.nextId('images_aliases'), project, name, imageId: id, description });
    }
    emit(ctx, 'image-created', project, fingerprint, { type: given.type });
  },
});

export interface ImageChange {
  public: boolean;
  autoUpdate: boolean;
  properties: Record<string, string>;
  /** As it is when absent. */
  expiresAt?: string;
  /** Names of profiles of `profileProject`, by default the image's own. */
  profiles?: string[];
  profileProject?: string;
  filename?: string;
}

/** A cached image stays one, and goes when it is not used: as LXD has it. */
export const updateImage = defineCommand<{ project: string; fingerprint: string; put: ImageChange; ifMatch?: string }>({
  name: 'images.update',
  async run(ctx, { project, fingerprint, put, ifMatch }) {
    const current = image(ctx.sql, project, fingerprint);
    checkEtag(ifMatch, imageEtag(current));
    if (put.profiles) setProfiles(ctx, current.id, put.profileProject ?? project, put.profiles, true);
    await ctx.em.update(
      ImageRow,
      { id: current.id },
      {
        public: Number(put.public),
        autoUpdate: Number(put.autoUpdate),
        properties: put.properties,
        expiresAt: put.expiresAt === undefined ? current.expiresAt : timeOf(put.expiresAt),
        filename: put.filename ?? current.filename,
      },
    );
    emit(ctx, 'image-updated', project, current.fingerprint);
  },
});

/** Of one project. `last`: no project has it any more, so that its files and volumes go. */
export const deleteImage = defineCommand<{ project: string; fingerprint: string }, { last: boolean }>({
  name: 'images.delete',
  run(ctx, { project, fingerprint }) {
    const current = image(ctx.sql, project, fingerprint);
    dropImage(ctx, current);
    emit(ctx, 'image-deleted', project, current.fingerprint);
    return { last: imagesEverywhere(ctx.sql, current.fingerprint).length === 0 };
  },
});

/** A newer image takes the place of an older: aliases, profiles and what was set by hand go over. */
export const replaceImage = defineCommand<{ project: string; fingerprint: string; by: string }, { last: boolean }>({
  name: 'images.replace',
  run(ctx, { project, fingerprint, by }) {
    const [before, after] = [image(ctx.sql, project, fingerprint), image(ctx.sql, project, by)];
    ctx.sql.run('UPDATE images_aliases SET image_id = ? WHERE image_id = ?', after.id, before.id);
    ctx.sql.run('DELETE FROM images_profiles WHERE image_id = ?', after.id);
    ctx.sql.run(
      'INSERT INTO images_profiles (image_id, profile_id) SELECT ?, profile_id FROM images_profiles WHERE image_id = ?',
      after.id,
      before.id,
    );
    ctx.sql.run(
      'UPDATE images SET public = ?, auto_update = ?, cached = ?, last_used_at = ? WHERE id = ?',
      Number(before.public),
      Number(before.autoUpdate),
      Number(before.cached),
      before.lastUsedAt,
      after.id,
    );
    dropImage(ctx, before);
    emit(ctx, 'image-deleted', project, before.fingerprint);
    return { last: imagesEverywhere(ctx.sql, before.fingerprint).length === 0 };
  },
});

/** The files of an image are on a member, or no longer. */
export const imageFiles = defineCommand<{ fingerprint: string; memberId: number; there: boolean }>({
  name: 'images.files',
  run(ctx, { fingerprint, memberId, there }) {
    if (there) ctx.sql.run('INSERT OR IGNORE INTO images_members (fingerprint, member_id) VALUES (?, ?)', fingerprint, memberId);
    else ctx.sql.run('DELETE FROM images_members WHERE fingerprint = ? AND member_id = ?', fingerprint, memberId);
  },
});

/** When an image was used last, as the administrator has it (`sql`). */
export const setImageUsed = defineCommand<{ fingerprint: string; at: string }, { changes: number }>({
  name: 'images.setUsed',
  run(ctx, { fingerprint, at }) {
    const found = imagesEverywhere(ctx.sql, fingerprint);
    ctx.sql.run('UPDATE images SET last_used_at = ? WHERE fingerprint = ?', new Date(at).toISOString(), fingerprint);
    return { changes: found.length };
  },
});

/** Step: an instance has been made of it. */
export function touchImage(ctx: CommandContext, project: string, fingerprint: string): void {
  ctx.sql.run('UPDATE images SET last_used_at = ? WHERE project = ? AND fingerprint = ?', ctx.now.toISOString(), project, fingerprint);
}

export const createAlias = defineCommand<{ project: string; name: string; description: string; target: string }>({
  name: 'images.createAlias',
  async run(ctx, { project, name, description, target }) {
    checkAliasName(name);
    if (findAlias(ctx.sql, project, name)) throw fault.conflict(`Alias "${name}" already exists`);
    const { id } = image(ctx.sql, project, target);
    await ctx.em.insert(ImageAliasRow, { id: ctx.nextId('images_aliases'), project, name, imageId: id, description });
    emitAlias(ctx, 'created', project, name, { target });
  },
});

export const updateAlias = defineCommand<{ project: string; name: string; description: string; target: string; ifMatch?: string }>({
  name: 'images.updateAlias',
  async run(ctx, { project, name, description, target, ifMatch }) {
    const current = alias(ctx.sql, project, name);
    checkEtag(ifMatch, aliasEtag(current));
    await ctx.em.update(ImageAliasRow, { id: current.id }, { description, imageId: image(ctx.sql, project, target).id });
    emitAlias(ctx, 'updated', project, name, { target });
  },
});

export const renameAlias = defineCommand<{ project: string; name: string; newName: string }>({
  name: 'images.renameAlias',
  async run(ctx, { project, name, newName }) {
    checkAliasName(newName);
    if (findAlias(ctx.sql, project, newName)) throw fault.conflict(`Alias "${newName}" already exists`);
    await ctx.em.update(ImageAliasRow, { id: alias(ctx.sql, project, name).id }, { name: newName });
    emitAlias(ctx, 'renamed', project, newName, { old_name: name });
  },
});

export const deleteAlias = defineCommand<{ project: string; name: string }>({
  name: 'images.deleteAlias',
  async run(ctx, { project, name }) {
    await ctx.em.delete(ImageAliasRow, { id: alias(ctx.sql, project, name).id });
    emitAlias(ctx, 'deleted', project, name);
  },
});

function dropImage(ctx: CommandContext, record: ImageRecord): void {
  setReferences(ctx, { kind: 'image', id: record.id, url: '' }, []);
  ctx.sql.run('DELETE FROM images_aliases WHERE image_id = ?', record.id);
  ctx.sql.run('DELETE FROM images_profiles WHERE image_id = ?', record.id);
  ctx.sql.run('DELETE FROM images WHERE id = ?', record.id);
}

/** `given`: named by the caller, so that one that does not exist is an error. */
function setProfiles(ctx: CommandContext, imageId: number, project: string, names: readonly string[], given: boolean): void {
  const profileProject = effectiveProject(ctx.sql, project, 'features.profiles');
  ctx.sql.run('DELETE FROM images_profiles WHERE image_id = ?', imageId);
  for (const name of new Set(names)) {
    const profile = findProfile(ctx.sql, profileProject, name);
    if (profile) ctx.sql.run('INSERT INTO images_profiles (image_id, profile_id) VALUES (?, ?)', imageId, profile.id);
    else if (given) throw fault.invalid(`Profile '${name}' doesn't exist`);
  }
}

/** Go's zero time and the epoch are how clients say never. @throws Fault invalid */
function timeOf(text: string): string {
  if (text === '' || text === zeroTime) return '';
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw fault.invalid(`Invalid time "${text}"`);
  return time.getTime() <= new Date(epoch).getTime() ? '' : time.toISOString();
}

function emit(ctx: CommandContext, action: string, project: string, fingerprint: string, context?: Record<string, unknown>): void {
  ctx.emit({ action, source: apiUrl(['images', fingerprint], project), project, context });
}

function emitAlias(ctx: CommandContext, what: string, project: string, name: string, context?: Record<string, unknown>): void {
  ctx.emit({ action: `image-alias-${what}`, source: apiUrl(['images', 'aliases', name], project), project, context });
}
