import { apiUrl, checkEtag } from '#api-contract';
import { withoutUnset } from '#config-keys';
import { fault } from '#kit';
import { defineCommand, type CommandContext } from '#replica/state';
import { checkPoolConfig, checkPoolName, memberPoolKeys, splitPoolConfig } from '../model/index.js';
import { poolEtag } from './etags.js';
import { configOn, findPool, pool, poolUsedBy, type PoolRecord } from './queries.js';
import { StoragePoolMemberRow, StoragePoolRow } from './tables.js';

/** Before anything is made on disk: the name is taken from now on. */
export const definePool = defineCommand<{ name: string; driver: string; description: string; config: Record<string, string>; memberId: number }>({
  name: 'storage.definePool',
  async run(ctx, { name, driver, description, config, memberId }) {
    checkPoolName(name);
    checkPoolConfig(driver, config);
    if (findPool(ctx.sql, name)) throw fault.conflict('The storage pool already exists: The record already exists');
    const id = ctx.nextId('storage_pools');
    const { global, member } = splitPoolConfig(withoutUnset(config));
    await ctx.em.insert(StoragePoolRow, { id, name, driver, description, config: global, state: 'pending' });
    await ctx.em.insert(StoragePoolMemberRow, { poolId: id, memberId, config: member, state: 'pending' });
  },
});

/** A pool of the cluster is about to be made on a member that came later. */
export const definePoolOn = defineCommand<{ name: string; memberId: number; config: Record<string, string> }>({
  name: 'storage.definePoolOn',
  async run(ctx, { name, memberId, config }) {
    const record = pool(ctx.sql, name);
    if (record.members.some((one) => one.memberId === memberId)) throw fault.conflict(`The storage pool "${name}" is on this member already`);
    const { member } = splitPoolConfig(withoutUnset(config));
    await ctx.em.insert(StoragePoolMemberRow, { poolId: record.id, memberId, config: member, state: 'pending' });
  },
});

/** One member's keys of a pool that is yet to be made: the first of two phases, once for each member. */
export const definePendingPool = defineCommand<{ name: string; driver: string; memberId: number; config: Record<string, string> }>({
  name: 'storage.definePendingPool',
  async run(ctx, { name, driver, memberId, config }) {
    checkPoolName(name);
    const wrong = Object.keys(config).find((key) => !memberPoolKeys.includes(key));
    if (wrong !== undefined) throw fault.invalid(`Config key "${wrong}" may not be used as member-specific key`);
    const known = findPool(ctx.sql, name);
    if (known && known.state !== 'pending') throw fault.conflict('The storage pool already exists: The record already exists');
    if (known && known.driver !== driver) throw fault.invalid('Storage pool already exists with a different driver');
    if (known?.members.some((one) => one.memberId === memberId)) throw fault.conflict('The storage pool already defined on member');
    const poolId = known?.id ?? ctx.nextId('storage_pools');
    if (!known) await ctx.em.insert(StoragePoolRow, { id: poolId, name, driver, description: '', config: {}, state: 'pending' });
    await ctx.em.insert(StoragePoolMemberRow, { poolId, memberId, config: withoutUnset(config), state: 'pending' });
  },
});

/** The second phase: what is the same for all. Only when every one of `members` has been defined; after an error it may be said again. */
export const settlePool = defineCommand<{
  name: string;
  driver: string;
  description: string;
  config: Record<string, string>;
  members: { id: number; name: string }[];
}>({
  name: 'storage.settlePool',
  async run(ctx, { name, driver, description, config, members }) {
    const record = findPool(ctx.sql, name);
    if (!record) throw fault.invalid('Pool not pending on any node (use --target <node> first)');
    if (record.state === 'created') throw fault.conflict('The storage pool is already created');
    if (driver !== '' && driver !== record.driver) throw fault.invalid('Storage pool already exists with a different driver');
    const specific = Object.keys(config).find((key) => memberPoolKeys.includes(key));
    if (specific !== undefined) throw fault.invalid(`Config key "${specific}" is cluster member specific`);
    const missing = members.filter(({ id }) => !record.members.some(({ memberId }) => memberId === id)).map((member) => member.name);
    if (missing.length > 0) throw fault.invalid(`Pool not defined on nodes: ${missing.join(', ')}`);
    checkPoolConfig(record.driver, config);
    await ctx.em.update(StoragePoolRow, { id: record.id }, { description, config: withoutUnset(config) });
  },
});

/** Some member could not make its part: the others keep theirs, and it may be tried again. */
export const poolErrored = defineCommand<{ name: string }>({
  name: 'storage.poolErrored',
  async run(ctx, { name }) {
    await ctx.em.update(StoragePoolRow, { id: pool(ctx.sql, name).id }, { state: 'errored' });
  },
});

/** It is there on a member, with the config that its making settled. */
export const poolMade = defineCommand<{ name: string; memberId: number; config: Record<string, string> }>({
  name: 'storage.poolMade',
  async run(ctx, { name, memberId, config }) {
    const record = pool(ctx.sql, name);
    const { member } = splitPoolConfig(withoutUnset(config));
    await ctx.em.update(StoragePoolMemberRow, { poolId: record.id, memberId }, { config: member, state: 'created' });
    await ctx.em.update(StoragePoolRow, { id: record.id }, { state: 'created' });
    emit(ctx, 'storage-pool-created', name);
  },
});

export const updatePool = defineCommand<{
  name: string;
  put: { description: string; config: Record<string, string> };
  memberId: number;
  ifMatch?: string;
}>({
  name: 'storage.updatePool',
  async run(ctx, { name, put, memberId, ifMatch }) {
    const record = pool(ctx.sql, name);
    checkPoolChange(record, memberId, put.config, ifMatch);
    const { global, member } = splitPoolConfig(withoutUnset(put.config));
    await ctx.em.update(StoragePoolRow, { id: record.id }, { description: put.description, config: global });
    await ctx.em.update(StoragePoolMemberRow, { poolId: record.id, memberId }, { config: member });
    emit(ctx, 'storage-pool-updated', name);
  },
});

/** What an update may not do; asked by the command, and before it by whoever changes the disk first. @throws Fault changed, invalid */
export function checkPoolChange(record: PoolRecord, memberId: number, config: Record<string, string>, ifMatch?: string): void {
  const before = configOn(record, memberId);
  checkEtag(ifMatch, poolEtag(record, before));
  if (record.state !== 'created') throw fault.invalid('Cannot update storage pool global config when not in created state');
  checkPoolConfig(record.driver, config);
  for (const key of memberPoolKeys.filter((name) => name !== 'size')) {
    if ((config[key] ?? '') !== (before[key] ?? '')) throw fault.invalid(`Pool ${key} cannot be changed when not in pending state`);
  }
}

/** From now on it takes no new volumes; the data goes next. @throws Fault invalid while it is used */
export const beginPoolRemoval = defineCommand<{ name: string }>({
  name: 'storage.beginPoolRemoval',
  async run(ctx, { name }) {
    const record = pool(ctx.sql, name);
    if (poolUsedBy(ctx.sql, record, { images: false }).length > 0) throw fault.invalid('The storage pool is currently in use');
    await ctx.em.update(StoragePoolRow, { id: record.id }, { state: 'removing' });
  },
});

/** The removal failed on the way: it is back, as far as it still is. */
export const keepPool = defineCommand<{ name: string }>({
  name: 'storage.keepPool',
  async run(ctx, { name }) {
    await ctx.em.update(StoragePoolRow, { id: pool(ctx.sql, name).id }, { state: 'created' });
  },
});

/** The row, with those of image volumes. Nothing there is success. */
export const forgetPool = defineCommand<{ name: string }>({
  name: 'storage.forgetPool',
  async run(ctx, { name }) {
    const record = findPool(ctx.sql, name);
    if (!record) return;
    ctx.sql.run("DELETE FROM storage_volumes WHERE pool_id = ? AND type = 'image'", record.id);
    await ctx.em.delete(StoragePoolMemberRow, { poolId: record.id });
    await ctx.em.delete(StoragePoolRow, { id: record.id });
    if (record.state === 'removing') emit(ctx, 'storage-pool-deleted', name);
  },
});

function emit(ctx: CommandContext, action: string, name: string): void {
  ctx.emit({ action, source: apiUrl(['storage-pools', name]), project: 'default' });
}
