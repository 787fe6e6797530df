import { withoutUnset } from '#config-keys';
import { assert, fault } from '#kit';
import { renameTarget, setReferences, targetOf } from '#projects/state';
import type { CommandContext, Reader } from '#replica/state';
import {
  type ContentType,
  type VolumeRef,
  checkVolumeConfig,
  checkVolumeName,
  driverDescription,
  knownVolumeKeys,
  withPoolDefaults,
} from '../model/index.js';
import { findSnapshot, findVolume, pool, snapshot, volume, volumeTarget, volumeUrl, volumeUsedBy, type VolumeRecord } from './queries.js';

/**
 * Steps: what a command of storage, or of a subject above it, does to volume rows inside its own transaction, so that an instance and its volume are one
 * command. They check what only the database can know; what is on disk is the host wing's.
 */
export interface NewVolume extends VolumeRef {
  /** Where it lies; for a pool that all see it does not matter. */
  memberId: number;
  contentType?: ContentType;
  description?: string;
  config?: Record<string, string>;
  /** Keys that the pool's driver does not know fall away instead of being refused: copies from another driver. */
  dropUnknownKeys?: boolean;
}

/** What a higher subject does in the same command when a volume is new, changed or gone: limits of projects. */
export type VolumeListener = (ctx: CommandContext, change: { before?: VolumeRecord; after?: VolumeRecord }) => void;
const listeners: VolumeListener[] = [];

/** Called once, when the module of the higher subject's state wing loads. */
export function onVolumeChange(listener: VolumeListener): void {
  listeners.push(listener);
}

/** How devices of instances and profiles that name a volume come to name it where it now is. */
export type VolumeFollower = (ctx: CommandContext, before: VolumeRecord, after: VolumeRecord) => void;
let follower: VolumeFollower | undefined;

/** Called once, when the module of the subject that has the devices loads. Until then a volume that is used stays where it is. */
export function onVolumeMoved(its: VolumeFollower): void {
  assert(!follower, 'one subject has the devices');
  follower = its;
}

/** @throws Fault invalid for a volume that others name, while nobody can make them follow it */
export function checkMovable(reader: Reader, record: VolumeRecord): void {
  if (record.type === 'custom' && !follower && volumeUsedBy(reader, record).length > 0) throw fault.invalid('The storage volume is still in use');
}

const tell = (ctx: CommandContext, change: Parameters<VolumeListener>[1]): void => listeners.forEach((listener) => listener(ctx, change));

/** @throws Fault conflict (409) for a name that is taken, unavailable for a pool that is not there yet or no longer */
export function insertVolume(ctx: CommandContext, given: NewVolume): VolumeRecord {
  const record = pool(ctx.sql, given.pool);
  if (record.state !== 'created') throw fault.invalid('Specified pool is not fully created');
  checkVolumeName(given.name);
  const { capabilities } = driverDescription(record.driver);
  const memberId = capabilities.remote ? 0 : given.memberId;
  const contentType = given.contentType ?? 'filesystem';
  if (contentType === 'block' && !capabilities.block)
    throw fault.unsupported(`Storage pool "${given.pool}" does not support block volumes`, { status: 400 });
  if (findVolume(ctx.sql, given, memberId)) throw fault.conflict('Volume by that name already exists');
  const wanted = given.dropUnknownKeys ? knownVolumeKeys(record.driver, given.config ?? {}) : (given.config ?? {});
  const config = withPoolDefaults(wanted, record.config, given.type, contentType);
  checkVolumeConfig(record.driver, config, given.type, contentType);
  const id = ctx.nextId('storage_volumes');
  ctx.sql.run(
    `INSERT INTO storage_volumes (id, pool_id, member_id, project, type, name, content_type, description, config, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    id,
    record.id,
    memberId,
    given.project,
    given.type,
    given.name,
    contentType,
    given.description ?? '',
    JSON.stringify(config),
    ctx.now.toISOString(),
  );
  const after = volume(ctx.sql, given, memberId);
  refer(ctx, after);
  tell(ctx, { after });
  return after;
}

/** With its snapshots. Nothing there is success. */
export function removeVolume(ctx: CommandContext, ref: VolumeRef, memberId?: number): void {
  const before = findVolume(ctx.sql, ref, memberId);
  if (!before) return;
  setReferences(ctx, userOf(before), []);
  ctx.sql.run('DELETE FROM storage_volume_snapshots WHERE volume_id = ?', before.id);
  ctx.sql.run('DELETE FROM storage_volumes WHERE id = ?', before.id);
  tell(ctx, { before });
}

/** @throws Fault notFound, conflict */
export function renameVolume(ctx: CommandContext, ref: VolumeRef, newName: string, memberId?: number): VolumeRecord {
  const before = volume(ctx.sql, ref, memberId);
  checkVolumeName(newName);
  if (findVolume(ctx.sql, { ...ref, name: newName }, before.memberId)) throw fault.conflict('Volume by that name already exists');
  ctx.sql.run('UPDATE storage_volumes SET name = ? WHERE id = ?', newName, before.id);
  return moved(ctx, before, { ...before, name: newName });
}

/** To another member's disk (the bytes are there already): the row goes with them. @throws Fault notFound */
export function relocateVolume(ctx: CommandContext, ref: VolumeRef, memberId: number): void {
  const before = volume(ctx.sql, ref);
  if (before.memberId !== 0) ctx.sql.run('UPDATE storage_volumes SET member_id = ? WHERE id = ?', memberId, before.id);
}

/** One volume takes the place of another, who uses it follows: the last step of a move between pools or projects. */
export function moved(ctx: CommandContext, before: VolumeRecord, after: VolumeRecord): VolumeRecord {
  checkMovable(ctx.sql, before);
  renameTarget(ctx, volumeTarget(before), volumeTarget(after));
  refer(ctx, after);
  if (before.type === 'custom') follower?.(ctx, before, after);
  tell(ctx, { before, after });
  return after;
}

/** @throws Fault notFound, invalid */
export function updateVolume(
  ctx: CommandContext,
  ref: VolumeRef,
  put: { description: string; config: Record<string, string> },
  memberId?: number,
): VolumeRecord {
  const before = volume(ctx.sql, ref, memberId);
  checkVolumeConfig(pool(ctx.sql, ref.pool).driver, put.config, before.type, before.contentType);
  const config = withoutUnset(put.config);
  ctx.sql.run('UPDATE storage_volumes SET description = ?, config = ? WHERE id = ?', put.description, JSON.stringify(config), before.id);
  const after = { ...before, description: put.description, config };
  tell(ctx, { before, after });
  return after;
}

export interface NewSnapshot {
  name: string;
  /** The parent's when absent. */
  description?: string;
  config?: Record<string, string>;
  expiresAt?: Date;
}

/** @throws Fault notFound, conflict (409) */
export function insertVolumeSnapshot(ctx: CommandContext, ref: VolumeRef, given: NewSnapshot, memberId?: number): void {
  const parent = volume(ctx.sql, ref, memberId);
  checkVolumeName(given.name);
  if (findSnapshot(ctx.sql, parent.id, given.name)) throw fault.conflict(`Snapshot "${given.name}" already in use`);
  ctx.sql.run(
    `INSERT INTO storage_volume_snapshots (id, volume_id, name, description, config, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ctx.nextId('storage_volume_snapshots'),
    parent.id,
    given.name,
    given.description ?? parent.description,
    JSON.stringify(given.config ?? parent.config),
    ctx.now.toISOString(),
    given.expiresAt?.toISOString() ?? '',
  );
}

/** Nothing there is success. */
export function removeVolumeSnapshot(ctx: CommandContext, ref: VolumeRef, name: string, memberId?: number): void {
  const parent = findVolume(ctx.sql, ref, memberId);
  if (parent) ctx.sql.run('DELETE FROM storage_volume_snapshots WHERE volume_id = ? AND name = ?', parent.id, name);
}

/** @throws Fault notFound, conflict */
export function renameVolumeSnapshot(ctx: CommandContext, ref: VolumeRef, name: string, newName: string, memberId?: number): void {
  const parent = volume(ctx.sql, ref, memberId);
  const current = snapshot(ctx.sql, parent.id, name);
  checkVolumeName(newName);
  if (findSnapshot(ctx.sql, parent.id, newName)) throw fault.conflict(`Snapshot "${newName}" already in use`);
  ctx.sql.run('UPDATE storage_volume_snapshots SET name = ? WHERE id = ?', newName, current.id);
}

const userOf = (record: VolumeRecord): { kind: string; id: number; url: string } => ({ kind: 'volume', id: record.id, url: volumeUrl(record) });

/** A custom volume counts as a thing of its project; an instance's counts by its instance, an image's by its image. */
function refer(ctx: CommandContext, record: VolumeRecord): void {
  if (record.type === 'custom') setReferences(ctx, userOf(record), [targetOf('project', record.project)]);
}
