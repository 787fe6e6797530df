import type { Core } from './core.js';
import type { RaftStatus } from './types.js';

export function statusOf(core: Core): RaftStatus {
  const { log, office } = core;
  return {
    id: core.id,
    term: core.term,
    role: core.role,
    leader: core.leader,
    vote: core.vote,
    commit: log.commit,
    applied: log.applied,
    last: log.last,
    stable: log.durable,
    configuration: core.configurations.inForce,
    promotable: core.promotable,
    transferringTo: office?.handOver.to,
    leaseUntilMs: office?.lease.untilMs,
    peers: [...(office?.peers.values() ?? [])].map(({ id, state, match, next, inflightBytes, heardMs }) => ({
      id,
      state,
      match,
      next,
      inflightBytes,
      heardMs,
    })),
  };
}
