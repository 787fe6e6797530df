import { apiUrl, checkEtag } from '#api-contract';
import { withoutUnset } from '#config-keys';
import { fault } from '#kit';
import { type CommandContext, defineCommand } from '#replica/state';
import { checkMemberConfig, checkMemberName, givenRoles, isDatabaseRole, raftRole, type RaftRole } from '../model/index.js';
import { findMember, group, isClustered, member, memberEtag, memberName, raftConfiguration, type MemberRecord } from './queries.js';
import { runRemovalSteps } from './member-removal.js';

export interface NewMember {
  name: string;
  /** `host:port`. */
  address: string;
  architecture: string;
}

const url = (name: string): string => apiUrl(['cluster', 'members', name]);

/** A server that stands alone becomes the first member. */
export const enableCluster = defineCommand<NewMember & { id: number }>({
  name: 'cluster.enable',
  run(ctx, { id, ...first }) {
    if (isClustered(ctx.sql)) throw fault.invalid('This server is already clustered');
    insert(ctx, id, first, 'created');
    ctx.emit({ action: 'cluster-enabled', source: url(first.name) });
  },
});

/** The first step of a join: row and place in consensus at once. Its id is never given again. */
export const admitMember = defineCommand<NewMember, { id: number }>({
  name: 'cluster.admit',
  run(ctx, joiner) {
    if (!isClustered(ctx.sql)) throw fault.invalid("Clustering isn't enabled");
    if (ctx.sql.get('SELECT 1 FROM cluster_members WHERE name = ?', joiner.name)) {
      throw fault.invalid(`The cluster already has a member with name: ${joiner.name}`);
    }
    if (ctx.sql.get('SELECT 1 FROM cluster_members WHERE address = ?', joiner.address)) {
      throw fault.invalid(`The cluster already has a member with address: ${joiner.address}`);
    }
    const id = ctx.nextId('members');
    insert(ctx, id, joiner, 'joining');
    ctx.configure([{ id, role: 'learner' }]);
    return { id };
  },
});

/** The last step: the joiner has everything, and works. */
export const memberJoined = defineCommand<{ id: number }>({
  name: 'cluster.joined',
  run(ctx, { id }) {
    const { changes } = ctx.sql.run("UPDATE cluster_members SET state = 'created' WHERE id = ? AND state = 'joining'", id);
    if (changes === 0) throw fault.notFound('Cluster member not found');
    ctx.emit({ action: 'cluster-member-added', source: url(memberName(ctx.sql, id)) });
  },
});

export interface MemberPut {
  roles: string[];
  failureDomain: string;
  description: string;
  config: Record<string, string>;
  groups: string[];
}

export const updateMember = defineCommand<{ name: string; put: MemberPut; ifMatch?: string }>({
  name: 'cluster.update-member',
  run(ctx, { name, put, ifMatch }) {
    const current = member(ctx.sql, name);
    checkEtag(ifMatch, memberEtag(current));
    checkRoles(ctx, current, put.roles);
    if (put.groups.length === 0) throw fault.invalid('Cluster members need to belong to at least one group');
    checkMemberConfig(put.config);
    ctx.sql.run(
      'UPDATE cluster_members SET description = ?, failure_domain = ?, roles = ?, config = ? WHERE id = ?',
      put.description,
      put.failureDomain || 'default',
      JSON.stringify(put.roles.filter((role) => !isDatabaseRole(role))),
      JSON.stringify(withoutUnset(put.config)),
      current.id,
    );
    ctx.sql.run('DELETE FROM cluster_group_members WHERE member_id = ?', current.id);
    for (const wanted of new Set(put.groups)) {
      ctx.sql.run('INSERT INTO cluster_group_members (group_id, member_id) VALUES (?, ?)', group(ctx.sql, wanted).id, current.id);
    }
    ctx.emit({ action: 'cluster-member-updated', source: url(name) });
  },
});

export const renameMember = defineCommand<{ name: string; newName: string }>({
  name: 'cluster.rename-member',
  run(ctx, { name, newName }) {
    const { id } = member(ctx.sql, name);
    checkMemberName(newName);
    if (findMember(ctx.sql, newName)) throw fault.conflict(`Name "${newName}" already in use`, { status: 409 });
    ctx.sql.run('UPDATE cluster_members SET name = ? WHERE id = ?', newName, id);
    ctx.emit({ action: 'cluster-member-renamed', source: url(newName), context: { old_name: name } });
  },
});

/** Row and place in consensus go at once. By name, or by id for a join that failed half way. */
export const removeMember = defineCommand<{ name: string; id?: number; force: boolean }>({
  name: 'cluster.remove-member',
  run(ctx, { name, id, force }) {
    const leaving = id === undefined ? member(ctx.sql, name) : { id, name };
    const total = ctx.sql.get<{ n: number }>('SELECT count(*) AS n FROM cluster_members')!.n;
    if (total === 1) throw fault.invalid('Member is the only member in the cluster', { status: 500 });
    if (ctx.sql.get('SELECT 1 FROM cluster_members WHERE id = ?', leaving.id) === undefined) throw fault.notFound('Cluster member not found');
    runRemovalSteps(ctx, { id: leaving.id, name: leaving.name, force });
    ctx.sql.run('DELETE FROM cluster_group_members WHERE member_id = ?', leaving.id);
    ctx.sql.run('DELETE FROM cluster_members WHERE id = ?', leaving.id);
    if (raftRole(raftConfiguration(ctx.sql), leaving.id) !== undefined) ctx.configure([{ id: leaving.id, role: 'removed' }]);
    ctx.emit({ action: 'cluster-member-removed', source: url(leaving.name) });
  },
});

/** Roles in consensus, as the leader's role keeper wants them. */
export const assignRoles = defineCommand<{ changes: { id: number; role: RaftRole }[] }>({
  name: 'cluster.assign-roles',
  run(ctx, { changes }) {
    const configuration = raftConfiguration(ctx.sql);
    const needed = changes.filter(({ id, role }) => {
      const now = raftRole(configuration, id);
      return now !== undefined && now !== role;
    });
    if (needed.length > 0) ctx.configure(needed);
  },
});

export const setMemberState = defineCommand<{ name: string; state: 'created' | 'evacuated' }>({
  name: 'cluster.set-state',
  run(ctx, { name, state }) {
    const current = member(ctx.sql, name);
    if (current.state === state) throw fault.invalid(`Cluster member is already ${state === 'evacuated' ? 'evacuated' : 'restored'}`);
    ctx.sql.run('UPDATE cluster_members SET state = ? WHERE id = ?', state, current.id);
    ctx.emit({ action: 'cluster-member-updated', source: url(name) });
  },
});

function insert(ctx: CommandContext, id: number, { name, address, architecture }: NewMember, state: string): void {
  checkMemberName(name);
  if (address === '') throw fault.invalid('No address of this member is known');
  ctx.sql.run(
    `INSERT INTO cluster_members (id, name, address, description, failure_domain, roles, config, architecture, state, joined_at)
     VALUES (?, ?, ?, '', 'default', '[]', '{}', ?, ?, ?)`,
    id,
    name,
    address,
    architecture,
    state,
    ctx.now.toISOString(),
  );
  ctx.sql.run("INSERT INTO cluster_group_members (group_id, member_id) SELECT id, ? FROM cluster_groups WHERE name = 'default'", id);
}

function checkRoles(ctx: CommandContext, { id }: MemberRecord, roles: readonly string[]): void {
  const votes = raftRole(raftConfiguration(ctx.sql), id) === 'voter';
  if (votes && !roles.includes('database')) throw fault.invalid('The "database" role cannot be dropped at this time');
  if (!votes && roles.includes('database')) throw fault.invalid('The "database" role cannot be added at this time');
  for (const role of roles) {
    if (!isDatabaseRole(role) && !givenRoles.includes(role as (typeof givenRoles)[number])) throw fault.invalid(`Invalid cluster role "${role}"`);
  }
}
