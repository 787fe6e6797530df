import { apiUrl, checkEtag } from '#api-contract';
import { fault } from '#kit';
import { type CommandContext, defineCommand } from '#replica/state';
import { checkGroupName } from '../model/index.js';
import { findGroup, group, groupEtag, isClustered, member } from './queries.js';

const url = (name: string): string => apiUrl(['cluster', 'groups', name]);

export const createGroup = defineCommand<{ name: string; description: string; members: string[] }>({
  name: 'cluster.create-group',
  run(ctx, { name, description, members }) {
    if (!isClustered(ctx.sql)) throw fault.invalid('This server is not clustered');
    checkGroupName(name);
    if (findGroup(ctx.sql, name)) throw fault.conflict('This cluster group already exists', { status: 500 });
    const id = ctx.nextId('cluster_groups');
    ctx.sql.run('INSERT INTO cluster_groups (id, name, description) VALUES (?, ?, ?)', id, name, description);
    setMembers(ctx, id, members);
    ctx.emit({ action: 'cluster-group-created', source: url(name) });
  },
});

export const updateGroup = defineCommand<{ name: string; put: { description: string; members: string[] }; ifMatch?: string }>({
  name: 'cluster.update-group',
  run(ctx, { name, put, ifMatch }) {
    const current = group(ctx.sql, name);
    checkEtag(ifMatch, groupEtag(current));
    ctx.sql.run('UPDATE cluster_groups SET description = ? WHERE id = ?', put.description, current.id);
    setMembers(ctx, current.id, put.members);
    for (const left of current.members.filter((one) => !put.members.includes(one))) {
      if (member(ctx.sql, left).groups.length > 0) continue;
      throw fault.invalid(`Cannot remove ${left} from group as member needs to belong to at least one group`, { status: 500 });
    }
    ctx.emit({ action: 'cluster-group-updated', source: url(name), context: { ...put } });
  },
});

export const renameGroup = defineCommand<{ name: string; newName: string }>({
  name: 'cluster.rename-group',
  run(ctx, { name, newName }) {
    if (name === 'default') throw fault.forbidden('The "default" group cannot be renamed');
    const { id } = group(ctx.sql, name);
    checkGroupName(newName);
    if (findGroup(ctx.sql, newName)) throw fault.conflict(`Name "${newName}" already in use`, { status: 500 });
    ctx.sql.run('UPDATE cluster_groups SET name = ? WHERE id = ?', newName, id);
    ctx.emit({ action: 'cluster-group-renamed', source: url(newName), context: { old_name: name } });
  },
});

export const deleteGroup = defineCommand<{ name: string }>({
  name: 'cluster.delete-group',
  run(ctx, { name }) {
    if (name === 'default') throw fault.forbidden("The 'default' cluster group cannot be deleted");
    const { id, members } = group(ctx.sql, name);
    if (members.length > 0) throw fault.invalid('Only empty cluster groups can be removed', { status: 500 });
    ctx.sql.run('DELETE FROM cluster_groups WHERE id = ?', id);
    ctx.emit({ action: 'cluster-group-deleted', source: url(name) });
  },
});

function setMembers(ctx: CommandContext, groupId: number, names: readonly string[]): void {
  ctx.sql.run('DELETE FROM cluster_group_members WHERE group_id = ?', groupId);
  for (const name of new Set(names)) {
    ctx.sql.run('INSERT INTO cluster_group_members (group_id, member_id) VALUES (?, ?)', groupId, member(ctx.sql, name).id);
  }
}
