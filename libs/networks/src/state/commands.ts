import { apiUrl, checkEtag, type ConfigMap } from '#api-contract';
import { fault } from '#kit';
import { checkProject, isUsed, renameTarget, setReferences, targetOf, usedBy } from '#projects/state';
import { defineCommand, type CommandContext } from '#replica/state';
import { checks, memberKeys, validateNetwork, type NetworkStatus } from '../model/index.js';
import { findNetwork, network, networkById, networks, type NetworkRecord } from './queries.js';
import { NetworkMemberRow, NetworkRow } from './tables.js';

export interface NetworkPut {
  description: string;
  config: ConfigMap;
}

/** The fields that a network's ETag covers, with the values of `member` merged in where the caller asked for one. */
export const networkEtag = (of: Pick<NetworkRecord, 'name' | 'type' | 'description' | 'config'>, managed = true): unknown => [
  of.name,
  managed,
  of.type,
  of.description,
  of.config,
];

/**
 * A network, not made anywhere yet: every member of `members` makes it and says so with `networkMade`. `config` is whole: nothing in it is `auto`.
 * In all of these `project` is the effective one.
 */
export const createNetwork = defineCommand<NetworkPut & { project: string; name: string; type: string; members: number[] }, { id: number }>({
  name: 'networks.create',
  async run(ctx, { project, name, type, description, config, members }) {
    checkNetwork(project, name, type, config);
    if (findNetwork(ctx.sql, project, name)) throw fault.invalid('The network already exists');
    checkOverlap(ctx, name, config);
    const id = ctx.nextId('networks');
    const { common, own } = split(config);
    await ctx.em.insert(NetworkRow, { id, project, name, type, description, config: common });
    for (const member of members) await ctx.em.insert(NetworkMemberRow, { network: id, member, status: 'Pending', config: own });
    setReferences(ctx, { kind: 'network', id, url: apiUrl(['networks', name], project) }, [targetOf('project', project)]);
    checkProject(ctx.sql, project);
    emit(ctx, 'network-created', project, name);
    return { id };
  },
});

/** Every network of the cluster is for a member that came later, too; it makes them and says so. */
export const joinNetworks = defineCommand<{ member: number; own: { name: string; config: ConfigMap }[] }>({
  name: 'networks.join',
  async run(ctx, { member, own }) {
    for (const { id, name, project, members } of networks(ctx.sql)) {
      if (members.has(member)) continue;
      const config = (project === 'default' && own.find((one) => one.name === name)?.config) || {};
      await ctx.em.insert(NetworkMemberRow, { network: id, member, status: 'Pending', config });
    }
  },
});

/** What making it on a member came to. */
export const setNetworkStatus = defineCommand<{ id: number; member: number; status: NetworkStatus }>({
  name: 'networks.set-status',
  async run(ctx, { id, member, status }) {
    if (!networkById(ctx.sql, id)) return;
    await ctx.em.update(NetworkMemberRow, { network: id, member }, { status });
  },
});

export const updateNetwork = defineCommand<{ project: string; name: string; put: NetworkPut; ifMatch?: string; member: number }>({
  name: 'networks.update',
  async run(ctx, { project, name, put, ifMatch, member }) {
    const current = network(ctx.sql, project, name);
    const mine = current.members.get(member)?.config ?? {};
    checkEtag(ifMatch, networkEtag({ ...current, config: { ...current.config, ...mine } }));
    checkNetwork(project, name, current.type, put.config);
    checkOverlap(ctx, name, put.config);
    const { common, own } = split(put.config);
    await ctx.em.update(NetworkRow, { id: current.id }, { description: put.description, config: common });
    await ctx.em.update(NetworkMemberRow, { network: current.id, member }, { config: own });
    emit(ctx, 'network-updated', project, name);
  },
});

export const renameNetwork = defineCommand<{ project: string; name: string; newName: string }, { id: number }>({
  name: 'networks.rename',
  async run(ctx, { project, name, newName }) {
    const current = network(ctx.sql, project, name);
    if (newName === '') throw fault.invalid('New network name not provided');
    checks.networkName(newName);
    if (isUsed(ctx.sql, targetOf('network', project, name))) throw fault.invalid('Network is currently in use');
    if (findNetwork(ctx.sql, project, newName)) throw fault.conflict(`Network "${newName}" already exists`);
    if (current.members.size > 1) throw fault.invalid('Renaming clustered network not supported');
    checkNetwork(project, newName, current.type, { ...current.config, ...[...current.members.values()][0]?.config });
    await ctx.em.update(NetworkRow, { id: current.id }, { name: newName });
    renameTarget(ctx, targetOf('network', project, name), targetOf('network', project, newName));
    setReferences(ctx, { kind: 'network', id: current.id, url: apiUrl(['networks', newName], project) }, [targetOf('project', project)]);
    emit(ctx, 'network-renamed', project, newName, { old_name: name });
    return { id: current.id };
  },
});

export const deleteNetwork = defineCommand<{ project: string; name: string }>({
  name: 'networks.delete',
  async run(ctx, { project, name }) {
    const current = network(ctx.sql, project, name);
    if (usedBy(ctx.sql, targetOf('network', project, name)).length > 0) throw fault.invalid('The network is currently in use');
    setReferences(ctx, { kind: 'network', id: current.id, url: '' }, []);
    await ctx.em.delete(NetworkMemberRow, { network: current.id });
    await ctx.em.delete(NetworkRow, { id: current.id });
    emit(ctx, 'network-deleted', project, name);
  },
});

function checkNetwork(project: string, name: string, type: string, config: ConfigMap): void {
  if (project !== 'default') throw fault.invalid('Network type does not support non-default projects');
  checks.networkName(name);
  for (const family of [4, 6]) {
    if (config[`ipv${family}.address`] === 'auto')
      throw fault.invalid(`Invalid value for network "${name}" option "ipv${family}.address": not picked yet`);
  }
  validateNetwork(type, name, config);
}

/** Two managed networks with the same addresses could never both work; LXD lets the second fail in the kernel. */
function checkOverlap(ctx: CommandContext, name: string, config: ConfigMap): void {
  for (const key of ['ipv4.address', 'ipv6.address']) {
    const mine = config[key];
    if (!mine || mine === 'none') continue;
    const rows = ctx.sql.all<{ name: string; address: string | null }>(
      `SELECT name, json_extract(config, '$."${key}"') AS address FROM networks WHERE name <> ?`,
      name,
    );
    const other = rows.find(({ address }) => address === mine);
    if (other) throw fault.invalid(`Invalid value for network "${name}" option "${key}": Address is used by network "${other.name}"`);
  }
}

function split(config: ConfigMap): { common: ConfigMap; own: ConfigMap } {
  const set = Object.entries(config).filter(([, value]) => value !== '');
  return {
    common: Object.fromEntries(set.filter(([key]) => !memberKeys.includes(key))),
    own: Object.fromEntries(set.filter(([key]) => memberKeys.includes(key))),
  };
}

function emit(ctx: CommandContext, action: string, project: string, name: string, context?: Record<string, unknown>): void {
  ctx.emit({ action, source: apiUrl(['networks', name], project), project, context });
}
