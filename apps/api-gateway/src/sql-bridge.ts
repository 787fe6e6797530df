import { apiUrl } from '#api-contract';
import { setImageUsed } from '#images/state';
import type { Reader } from '#replica/state';
import type { SqlBridge } from '#server/http';

const memberState = (column: string): string => `CASE ${column} WHEN 'pending' THEN 0 WHEN 'created' THEN 1 ELSE 2 END`;
const configOf = (table: string, id: string): string =>
  `SELECT NULL AS id, o.id AS ${id}, NULL AS node_id, c.key AS key, c.value AS value FROM main.${table} o, json_each(o.config) c`;

/** LXD's tables over ours, for `muster sql`, `lxd sql` and the test suites that look into the database. */
export const sqlBridge: SqlBridge = {
  views: {
    nodes:
      'SELECT id, name, description, address, 0 AS schema, 0 AS api_extensions, joined_at AS heartbeat, failure_domain AS failure_domain_id, architecture AS arch FROM main.cluster_members',
    images: 'SELECT *, (SELECT id FROM main.projects WHERE name = project) AS project_id, last_used_at AS last_use_date FROM main.images',
    storage_pools_nodes: `SELECT pool_id AS id, pool_id AS storage_pool_id, member_id AS node_id, ${memberState('state')} AS state FROM main.storage_pool_members`,
    storage_pools_config: configOf('storage_pools', 'storage_pool_id'),
    networks_nodes: `SELECT network AS id, network AS network_id, member AS node_id, ${memberState('lower(status)')} AS state FROM main.network_members`,
    networks_config: configOf('networks', 'network_id'),
    storage_volumes_snapshots:
      'SELECT id, volume_id AS storage_volume_id, name, description, expires_at AS expiry_date FROM main.storage_volume_snapshots',
    instances_snapshots:
      'SELECT id, instance_id, name, created_at AS creation_date, stateful, description, expires_at AS expiry_date FROM main.instance_snapshots',
    instances_config: configOf('instances', 'instance_id'),
    profiles_config: configOf('profiles', 'profile_id'),
    projects_config: configOf('projects', 'project_id'),
  },
  writes: [
    {
      pattern: /^\s*UPDATE images SET last_use_date='(\d{4}-[\d-]+ [\d:]+[+-]\d\d:\d\d)' WHERE fingerprint='([0-9a-f]{64})';?\s*$/i,
      command: setImageUsed,
      payload: ([, at, fingerprint]) => ({ at: at!, fingerprint: fingerprint! }),
    },
  ],
  entityUrl,
};

/** Type code of LXD → how to name the row. */
const entities: Record<number, { table: string; kind: string; column: string; project: boolean }> = {
  0: { table: 'instances', kind: 'instances', column: 'name', project: true },
  1: { table: 'images', kind: 'images', column: 'fingerprint', project: true },
  2: { table: 'profiles', kind: 'profiles', column: 'name', project: true },
  3: { table: 'projects', kind: 'projects', column: 'name', project: false },
  4: { table: 'certificates', kind: 'certificates', column: 'fingerprint', project: false },
  5: { table: 'instances', kind: 'instances', column: 'name', project: true },
  8: { table: 'networks', kind: 'networks', column: 'name', project: true },
  11: { table: 'storage_pools', kind: 'storage-pools', column: 'name', project: false },
};

function entityUrl(reader: Reader, typeCode: number, id: number): string | undefined {
  const entity = entities[typeCode];
  if (!entity) return undefined;
  const row = reader.get<{ name: string; project: string }>(
    `SELECT ${entity.column} AS name, ${entity.project ? 'project' : "''"} AS project FROM ${entity.table} WHERE id = ?`,
    id,
  );
  return row && apiUrl([entity.kind, row.name], row.project || undefined);
}
