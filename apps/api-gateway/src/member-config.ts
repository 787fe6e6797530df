import type { MemberConfigSource } from '#cluster/http';
import { memberKeys } from '#networks/model';
import { networks } from '#networks/state';
import { pools } from '#storage/state';

/** What a joiner may be asked: the member-specific keys of pools and networks that some member has. */
export const memberConfig: MemberConfigSource = (reader) => {
  const ofPools = pools(reader).flatMap(({ name, members }) => {
    const keys = new Set(members.flatMap(({ config }) => Object.keys(config)).filter((key) => !key.startsWith('volatile.')));
    return [...keys].sort().map((key) => ({ name, key }));
  });
  const ofNetworks = networks(reader, 'default').flatMap(({ name, members }) => {
    const keys = new Set([...members.values()].flatMap(({ config }) => Object.keys(config)).filter((key) => memberKeys.includes(key)));
    return [...keys].sort().map((key) => ({ name, key }));
  });
  return [
    ...ofPools.map(({ name, key }) => ({
      entity: 'storage-pool' as const,
      name,
      key,
      value: '',
      description: `"${key}" property for storage pool "${name}"`,
    })),
    ...ofNetworks.map(({ name, key }) => ({
      entity: 'network' as const,
      name,
      key,
      value: '',
      description: `"${key}" property for network "${name}"`,
    })),
  ];
};
