import { checkEtag } from '#api-contract';
import { defineCommand } from '#replica/state';
import { applyChanges, shown, type Changes, type Config } from '../model/index.js';
import { serverConfig } from './queries.js';
import { ServerConfigRow } from './tables.js';

/** The server's ETag covers the whole config as it is shown. */
export const serverEtag = (global: Config, member: Config): unknown => shown(global, member);

export interface ServerConfigChange {
  /** Checked already; a password in it is a hash already. */
  changes: Changes;
  /** PUT: what is not named is unset. */
  replace: boolean;
  /** The keys of the member that answers, as they are: part of the ETag. */
  member: Config;
  ifMatch?: string;
}

export const changeServerConfig = defineCommand<ServerConfigChange>({
  name: 'server.configure',
  secretFields: ['changes'],
  async run(ctx, { changes, replace, member, ifMatch }) {
    const current = serverConfig(ctx.sql);
    checkEtag(ifMatch, serverEtag(current, member));
    const next = applyChanges(current, changes, replace);
    for (const key of Object.keys(current)) if (!(key in next)) await ctx.em.delete(ServerConfigRow, { key });
    for (const [key, value] of Object.entries(next)) if (current[key] !== value) await ctx.em.save(ServerConfigRow, { key, value });
    ctx.emit({ action: 'config-updated', source: '/1.0' });
  },
});
