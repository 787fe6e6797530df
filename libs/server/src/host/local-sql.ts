import type { ServerInfo } from '#members';
import type { LocalStore } from '#replica';
import { dump, isSelect, runSelect, tried, type SqlResult, type SqlViews } from '../state/index.js';

/** LXD keeps a member's configuration, the raft members and its own patches in its local database. */
function views(server: ServerInfo): SqlViews {
  const name = server.memberName() === 'none' ? '' : server.memberName();
  return {
    config: 'SELECT rowid AS id, key, value FROM main.member_config',
    raft_nodes: `SELECT ${Number(server.memberId)} AS id, coalesce((SELECT value FROM main.member_config WHERE key = 'cluster.https_address'), '') AS address, 0 AS role, '${name.replaceAll("'", "''")}' AS name`,
    patches: "SELECT 0 AS id, '' AS name, 0 AS applied_at WHERE 0",
  };
}

/** @throws Fault invalid, with SQLite's sentence */
export function runLocalSql(
  local: LocalStore,
  server: ServerInfo,
  query: string,
  schemaOnly: boolean,
): { dump: string; result: { [field: string]: unknown } | undefined } {
  if (query === '') return { dump: dump(local, schemaOnly), result: undefined };
  return { dump: '', result: { ...(isSelect(query) ? runSelect(local, query, views(server)) : write(local, query)) } };
}

function write(local: LocalStore, query: string): SqlResult {
  // LXD's patches have no counterpart: there is nothing to delete.
  const changes = /^\s*delete\s+from\s+patches\b/i.test(query) ? 0 : tried(() => local.run(query)).changes;
  return { type: 'exec', columns: [], rows: [], rows_affected: Number(changes) };
}
