import { type Clock, Fault, type Logger } from '#kit';
import type { Replica } from '#replica';
import { internalIdentity } from '#replica/state';
import { serverValue } from '#server/state';
import { nextRoles, raftRole, type RoleCandidate } from '../model/index.js';
import { assignRoles, memberAddresses, raftConfiguration, removeMember } from '../state/index.js';
import type { Membership } from './membership.js';

const lookMs = 1_000;
/** A log this close to the leader's may vote without holding anything up. */
const closeEntries = 1_000;
/** A member that began to join and never finished. */
const joinMs = 90_000;

/** On the leader: gives the right number of members a vote, and takes back what half a join has left. Looks, and does one thing at a time. */
export class RoleKeeper {
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor(private readonly parts: { replica: Replica; membership: Membership; clock: Clock; log: Logger }) {}

  start(): void {
    this.#timer = setInterval(() => void this.look(), lookMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async look(): Promise<void> {
    if (this.#looking || !this.parts.membership.clustered) return;
    this.#looking = true;
    try {
      while (await this.#step());
    } catch (error) {
      // Between two leaders, or while this member begins anew: the next look will do it.
      const level = error instanceof Fault && error.kind === 'unavailable' ? 'debug' : 'warn';
      this.parts.log[level]({ err: error }, 'database roles could not be changed');
    } finally {
      this.#looking = false;
    }
  }

  /** True if something was changed, so that it is worth looking again. */
  async #step(): Promise<boolean> {
    const { replica } = this.parts;
    const status = await replica.status();
    if (status.role !== 'leader') return false;
    await this.#forgetHalfJoined();
    const candidates = this.#candidates(status.member.id, status.commit, status.peers ?? []);
    const limits = {
      voters: Number(serverValue(replica.reader, 'cluster.max_voters')),
      standbys: Number(serverValue(replica.reader, 'cluster.max_standby')),
    };
    const changes = nextRoles(candidates, status.member.id, limits);
    if (changes.length === 0) return false;
    this.parts.log.info({ changes }, 'database roles change');
    await replica.submit(assignRoles, { changes }, { identity: internalIdentity });
    return true;
  }

  #candidates(self: number, commit: number, peers: readonly { id: number; match: number; silentMs?: number }[]): RoleCandidate[] {
    const { replica, membership } = this.parts;
    const configuration = raftConfiguration(replica.reader);
    const offlineMs = Number(serverValue(replica.reader, 'cluster.offline_threshold')) * 1_000;
    return membership.members.flatMap(({ id, state, failureDomain }): RoleCandidate[] => {
      const role = raftRole(configuration, id);
      const peer = peers.find((one) => one.id === id);
      const alive = id === self || (peer?.silentMs ?? Infinity) < offlineMs;
      const caughtUp = id === self || (peer !== undefined && peer.match > 0 && commit - peer.match < closeEntries);
      return role ? [{ id, role, alive, caughtUp, evacuated: state === 'evacuated', failureDomain }] : [];
    });
  }

  async #forgetHalfJoined(): Promise<void> {
    const { replica, clock } = this.parts;
    const before = new Date(clock.now().getTime() - joinMs).toISOString();
    const halves = replica.reader.all<{ id: number; name: string }>(
      "SELECT id, name FROM cluster_members WHERE state = 'joining' AND joined_at < ?",
      before,
    );
    for (const { id, name } of halves) await replica.submit(removeMember, { id, name, force: true }, { identity: internalIdentity });
  }
}

/** Peers of consensus: everybody who has a row. */
export const peersOf = (replica: Replica): { id: number; address: string }[] =>
  memberAddresses(replica.reader).map(({ id, address }) => ({ id, address }));
