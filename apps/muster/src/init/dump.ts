import { stringify } from 'yaml';
import type { Network, Profile, Project, StoragePool } from '#api-contract';
import type { Api } from '../api.js';

/** The server's configuration as a preseed that would make it again. */
export async function dumpPreseed(api: Api): Promise<string> {
  const { config } = await api.get<{ config: Record<string, unknown> }>('/1.0');
  const networks = await api.get<Network[]>('/1.0/networks?recursion=1');
  const pools = await api.get<StoragePool[]>('/1.0/storage-pools?recursion=1');
  const profiles = await api.get<Profile[]>('/1.0/profiles?recursion=1');
  const projects = await api.get<Project[]>('/1.0/projects?recursion=1');
  return stringify({
    config,
    networks: networks
      .filter(({ managed }) => managed)
      .map(({ config: keys, description, name, type }) => ({ config: keys, description, name, type, project: 'default' })),
    storage_pools: pools.map(({ config: keys, description, name, driver }) => ({ config: keys, description, name, driver })),
    profiles: profiles.map(({ config: keys, description, devices, name }) => ({ config: keys, description, devices, name })),
    projects: projects.map(({ config: keys, description, name }) => ({ config: keys, description, name })),
  });
}
