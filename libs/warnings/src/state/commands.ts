import { apiUrl, defaultProject } from '#api-contract';
import { fault } from '#kit';
import { type CommandContext, defineCommand } from '#replica/state';
import { isWarningCode, warningStatus } from '../model/index.js';
import { findWarning, warningAbout, type WarningRecord, type WarningSubject } from './queries.js';
import { WarningRow } from './tables.js';

/** A message may quote an error; nobody reads more of it. */
const messageLengthMax = 4_096;

/** Says it for the first time, or once more. `uuid` is taken when it is new. A resolved one that is back is new again; an acknowledged one stays so. */
export const upsertWarning = defineCommand<WarningSubject & { uuid: string; message: string }, { uuid: string }>({
  name: 'warnings.upsert',
  async run(ctx, { uuid, message, ...subject }) {
    if (!isWarningCode(subject.type)) throw fault.invalid(`Unknown warning type code ${subject.type}`);
    const text = message.slice(0, messageLengthMax);
    const now = ctx.now.toISOString();
    const known = warningAbout(ctx.sql, subject);
    if (!known) {
      const row = { ...subject, uuid, message: text, status: warningStatus.new, firstSeen: now, lastSeen: now, updated: now, count: 1 };
      await ctx.em.insert(WarningRow, { id: ctx.nextId('warnings'), ...row });
      return { uuid };
    }
    const status = known.status === warningStatus.resolved ? warningStatus.new : known.status;
    await ctx.em.update(WarningRow, { id: known.id }, { message: text, lastSeen: now, updated: now, status, count: known.count + 1 });
    return { uuid: known.uuid };
  },
});

/** It is over. Nothing known about it is success. Left out fields of the subject mean any. */
export const resolveWarnings = defineCommand<Partial<WarningSubject> & { member: string; type: number }, { resolved: number }>({
  name: 'warnings.resolve',
  run(ctx, { member, type, project, entityUrl }) {
    const { changes } = ctx.sql.run(
      `UPDATE warnings SET status = ?, updated = ? WHERE member = ? AND type = ? AND status <> ?
         AND (? IS NULL OR project = ?) AND (? IS NULL OR entity_url = ?)`,
      warningStatus.resolved,
      ctx.now.toISOString(),
      member,
      type,
      warningStatus.resolved,
      project ?? null,
      project ?? null,
      entityUrl ?? null,
      entityUrl ?? null,
    );
    return { resolved: Number(changes) };
  },
});

export const setWarningStatus = defineCommand<{ uuid: string; status: 'new' | 'acknowledged' }>({
  name: 'warnings.set-status',
  async run(ctx, { uuid, status }) {
    const { id } = named(ctx, uuid);
    await ctx.em.update(WarningRow, { id }, { status: warningStatus[status], updated: ctx.now.toISOString() });
    emit(ctx, status === 'acknowledged' ? 'warning-acknowledged' : 'warning-reset', uuid);
  },
});

export const deleteWarning = defineCommand<{ uuid: string }>({
  name: 'warnings.delete',
  async run(ctx, { uuid }) {
    const { id } = named(ctx, uuid);
    await ctx.em.delete(WarningRow, { id });
    emit(ctx, 'warning-deleted', uuid);
  },
});

/** For periodic work: what has been resolved for so long goes. */
export const pruneWarnings = defineCommand<{ resolvedForMs: number }, { pruned: number }>({
  name: 'warnings.prune',
  run(ctx, { resolvedForMs }) {
    const before = new Date(ctx.now.getTime() - resolvedForMs).toISOString();
    const { changes } = ctx.sql.run('DELETE FROM warnings WHERE status = ? AND updated <= ?', warningStatus.resolved, before);
    return { pruned: Number(changes) };
  },
});

function named(ctx: CommandContext, uuid: string): WarningRecord {
  const warning = findWarning(ctx.sql, uuid);
  if (!warning) throw fault.notFound('Warning not found');
  return warning;
}

function emit(ctx: CommandContext, action: string, uuid: string): void {
  ctx.emit({ action, source: apiUrl(['warnings', uuid]), project: defaultProject });
}
