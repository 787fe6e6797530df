import type { ConfigMap, DevicesMap } from '#api-contract';
import { silent, Undo } from '#kit';
import type { Api } from '../api.js';
import type { NetworkPreseed, PoolPreseed, Preseed, ProfilePreseed, ProjectPreseed } from './preseed.js';

interface Current {
  config: ConfigMap;
  description: string;
  devices?: DevicesMap;
  driver?: string;
}

/** Makes the server what the preseed says: what is missing is created, what exists is changed; a failure takes everything back. */
export async function applyPreseed(api: Api, preseed: Preseed): Promise<void> {
  await using undo = new Undo(silent);
  if (preseed.config && Object.keys(preseed.config).length > 0) await applyServer(api, undo, preseed.config);
  for (const pool of preseed.storage_pools ?? []) await applyPool(api, undo, pool);
  const networks = preseed.networks ?? [];
  const ofDefault = (network: NetworkPreseed): boolean => (network.project ?? 'default') === 'default';
  for (const network of networks.filter(ofDefault)) await applyNetwork(api, undo, network);
  for (const project of preseed.projects ?? []) await applyProject(api, undo, project);
  for (const network of networks.filter((one) => !ofDefault(one))) await applyNetwork(api, undo, network);
  for (const profile of preseed.profiles ?? []) await applyProfile(api, undo, profile);
  if (preseed.cluster?.enabled) await api.change('PUT', '/1.0/cluster', preseed.cluster);
  undo.drop();
}

async function applyServer(api: Api, undo: Undo, config: ConfigMap): Promise<void> {
  const { metadata, etag } = await api.call('GET', '/1.0');
  const before = (metadata as { config: ConfigMap }).config;
  await failing('Failed to update server configuration', api.change('PUT', '/1.0', { config: { ...before, ...config } }, etag));
  undo.add('server configuration', () => api.change('PUT', '/1.0', { config: before }));
}

async function applyPool(api: Api, undo: Undo, pool: PoolPreseed): Promise<void> {
  const path = `/1.0/storage-pools/${encodeURIComponent(pool.name)}`;
  const what = `storage pool "${pool.name}"`;
  const change = await existing(api, path);
  if (!change) return create(api, undo, what, '/1.0/storage-pools', path, pool);
  if (change.current.driver !== pool.driver)
    throw new Error(`Storage pool "${pool.name}" is of type "${change.current.driver}" instead of "${pool.driver}"`);
  await update(api, undo, what, path, change, pool);
}

async function applyNetwork(api: Api, undo: Undo, network: NetworkPreseed): Promise<void> {
  const query = `?project=${encodeURIComponent(network.project ?? 'default')}`;
  const path = `/1.0/networks/${encodeURIComponent(network.name)}${query}`;
  const what = `network "${network.name}" in project "${network.project ?? 'default'}"`;
  const change = await existing(api, path);
  if (change) await update(api, undo, what, path, change, network);
  else await create(api, undo, what, `/1.0/networks${query}`, path, network);
}

async function applyProject(api: Api, undo: Undo, project: ProjectPreseed): Promise<void> {
  const path = `/1.0/projects/${encodeURIComponent(project.name)}`;
  const change = await existing(api, path);
  if (change) await update(api, undo, `project "${project.name}"`, path, change, project);
  else await create(api, undo, `project "${project.name}"`, '/1.0/projects', path, project);
}

async function applyProfile(api: Api, undo: Undo, profile: ProfilePreseed): Promise<void> {
  const path = `/1.0/profiles/${encodeURIComponent(profile.name)}`;
  const change = await existing(api, path);
  if (!change) return create(api, undo, `profile "${profile.name}"`, '/1.0/profiles', path, profile);
  const devices = { ...change.current.devices };
  for (const [name, device] of Object.entries(profile.devices ?? {})) devices[name] = { ...devices[name], ...device };
  await update(api, undo, `profile "${profile.name}"`, path, change, { ...profile, devices });
}

interface Change {
  current: Current;
  etag?: string;
}

async function existing(api: Api, path: string): Promise<Change | undefined> {
  try {
    const { metadata, etag } = await api.call('GET', path);
    return { current: metadata as Current, etag };
  } catch (error) {
    if ((error as { status?: number }).status === 404) return undefined;
    throw error;
  }
}

async function create(api: Api, undo: Undo, what: string, collection: string, path: string, body: object): Promise<void> {
  await failing(`Failed to create ${what}`, api.change('POST', collection, body));
  undo.add(what, () => api.change('DELETE', path));
}

async function update(
  api: Api,
  undo: Undo,
  what: string,
  path: string,
  { current, etag }: Change,
  wanted: { description?: string; config?: ConfigMap; devices?: DevicesMap },
): Promise<void> {
  const put = {
    ...current,
    description: wanted.description || current.description,
    config: { ...current.config, ...wanted.config },
    devices: wanted.devices ?? current.devices,
  };
  await failing(`Failed to update ${what}`, api.change('PUT', path, put, etag));
  undo.add(what, () => api.change('PUT', path, current));
}

async function failing(what: string, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
}
