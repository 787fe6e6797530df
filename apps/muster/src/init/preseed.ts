import { parse } from 'yaml';
import type { ConfigMap, DevicesMap } from '#api-contract';

export interface PoolPreseed {
  name: string;
  driver: string;
  description?: string;
  config?: ConfigMap;
}
export interface NetworkPreseed {
  name: string;
  type?: string;
  project?: string;
  description?: string;
  config?: ConfigMap;
}
export interface ProfilePreseed {
  name: string;
  description?: string;
  config?: ConfigMap;
  devices?: DevicesMap;
}
export interface ProjectPreseed {
  name: string;
  description?: string;
  config?: ConfigMap;
}
export interface ClusterPreseed {
  enabled?: boolean;
  server_name?: string;
  server_address?: string;
  cluster_address?: string;
  cluster_certificate?: string;
  cluster_certificate_path?: string;
  cluster_password?: string;
  cluster_token?: string;
  member_config?: { entity: string; name: string; key: string; value: string; description?: string }[];
}

/** What `init` applies: LXD's preseed format. */
export interface Preseed {
  config?: ConfigMap;
  storage_pools?: PoolPreseed[];
  networks?: NetworkPreseed[];
  projects?: ProjectPreseed[];
  profiles?: ProfilePreseed[];
  cluster?: ClusterPreseed;
}

const known = ['config', 'storage_pools', 'networks', 'projects', 'profiles', 'cluster'];

/** YAML → Preseed; refuses unknown keys. Config values may be written as numbers or booleans. */
export function parsePreseed(text: string): Preseed {
  const document = (parse(text) ?? {}) as Record<string, unknown>;
  if (typeof document !== 'object' || Array.isArray(document)) throw new Error('Failed to parse the preseed: it must be a map');
  for (const key of Object.keys(document)) {
    if (!known.includes(key)) throw new Error(`Failed to parse the preseed: field ${key} not found`);
  }
  const preseed = document as Preseed;
  if (preseed.config) preseed.config = texts(preseed.config);
  for (const item of [...(preseed.storage_pools ?? []), ...(preseed.networks ?? []), ...(preseed.projects ?? []), ...(preseed.profiles ?? [])]) {
    item.config = texts(item.config ?? {});
  }
  for (const profile of preseed.profiles ?? []) {
    for (const [name, device] of Object.entries(profile.devices ?? {})) profile.devices![name] = texts(device);
  }
  return preseed;
}

const texts = (map: Record<string, unknown>): ConfigMap =>
  Object.fromEntries(Object.entries(map).map(([key, value]) => [key, value === null ? '' : String(value)]));
