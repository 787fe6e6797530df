import { isClustered, members as clusterMembers } from '#cluster/state';
import type { Members, ServerInfo } from '#members';
import { networks } from '#networks/state';
import type { ReadPort } from '#replica';
import { pools } from '#storage/state';
import type { Candidate } from './feasible/placement.js';

/** What a machine of an architecture can run, as LXD names them, its own first. */
const personalities: Record<string, string[]> = { x86_64: ['x86_64', 'i686'], aarch64: ['aarch64', 'armv7l'] };
const ownArchitecture: Partial<Record<NodeJS.Architecture, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** The members that could have an instance; this one alone where there is no cluster. */
export function candidates({ reader }: ReadPort, server: ServerInfo, members: Pick<Members, 'others'>): Candidate[] {
  const mine = server.memberId;
  const made = placesOf(reader);
  const counts = new Map(
    reader
      .all<{ id: number; n: number }>('SELECT member_id AS id, count(*) AS n FROM instances GROUP BY member_id')
      .map(({ id, n }) => [id, n] as const),
  );
  const candidate = (id: number, name: string, architecture: string): Candidate => ({
    name,
    state: 'online',
    architectures: personalities[architecture] ?? [architecture],
    ...made(id),
    groups: ['default'],
    schedulerInstance: 'all',
    instances: counts.get(id) ?? 0,
  });
  if (!isClustered(reader)) return [candidate(mine, server.memberName(), ownArchitecture[process.arch] ?? process.arch)];
  const alive = new Set([...members.others(), server.memberName()]);
  return clusterMembers(reader).map(({ id, name, architecture, state, groups, config }) => ({
    ...candidate(id, name, architecture),
    state: state === 'evacuated' ? 'evacuated' : alive.has(name) ? 'online' : 'offline',
    groups,
    schedulerInstance: (config['scheduler.instance'] ?? 'all') as Candidate['schedulerInstance'],
  }));
}

/** Pools and networks by the member on which they are made. */
function placesOf(reader: ReadPort['reader']): (id: number) => Pick<Candidate, 'pools' | 'networks'> {
  const [allPools, allNetworks] = [pools(reader), networks(reader)];
  return (id) => ({
    pools: allPools.filter((pool) => pool.members.some(({ memberId, state }) => memberId === id && state === 'created')).map(({ name }) => name),
    networks: allNetworks.filter((network) => network.members.get(id)?.status === 'Created').map(({ name }) => name),
  });
}
