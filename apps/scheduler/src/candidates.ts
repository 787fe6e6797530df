import type { ServerInfo } from '#members';
import { networks } from '#networks/state';
import type { ReadPort } from '#replica';
import { pools } from '#storage/state';
import type { Candidate } from './feasible/placement.js';

/** As LXD names them; what else a machine can run stands behind its own. */
const architectures: Partial<Record<NodeJS.Architecture, string[]>> = { x64: ['x86_64', 'i686'], arm64: ['aarch64', 'armv7l'] };

/** The members that could have an instance: this one, until members are rows of the replica. */
export function candidates({ reader }: ReadPort, server: ServerInfo): Candidate[] {
  const mine = server.memberId;
  return [
    {
      name: server.memberName(),
      state: 'online',
      architectures: architectures[process.arch] ?? [],
      pools: pools(reader)
        .filter((pool) => pool.members.some(({ memberId, state }) => memberId === mine && state === 'created'))
        .map(({ name }) => name),
      networks: networks(reader)
        .filter((network) => network.members.get(mine)?.status === 'Created')
        .map(({ name }) => name),
      groups: ['default'],
      schedulerInstance: 'all',
      instances: 0,
    },
  ];
}
