/** What comes out: gathers everything that is due into a Ready, and remembers what was given, to know what is new. */
import { assert } from '#kit/assert';
import { isJoint } from './configuration.js';
import type { Core } from './core.js';
import type { Identities } from './identities.js';
import type { ReadForwards } from './read-forwards.js';
import type { SnapshotReceiver } from './snapshot-receiver.js';
import type { HardState, MemberId, Position, Ready } from './types.js';

export class Outlet {
  private given: { hardState: HardState; role: string; leader: MemberId | undefined; leaveJointDue: boolean };
  private number = 0;
  /** Readys that are being written. */
  private writing: { readonly number: number; readonly end: Position; readonly hardState: HardState }[] = [];

  constructor(
    private readonly core: Core,
    private readonly receiver: SnapshotReceiver,
    private readonly identities: Identities,
    private readonly forwards: ReadForwards,
    hardState: HardState,
  ) {
    this.given = { hardState: { ...hardState }, role: core.role, leader: undefined, leaveJointDue: false };
  }

  hasReady(): boolean {
    const { core, given } = this;
    this.flush();
    return (
      core.messagesNow.length > 0 ||
      core.messagesAfterPersist.length > 0 ||
      core.readStates.length > 0 ||
      core.log.hasUnwritten ||
      core.snapshotWanted !== undefined ||
      this.receiver.hasOutput ||
      this.identities.hasOutput ||
      this.nextCommitted <= this.lastDeliverable ||
      core.term !== given.hardState.term ||
      core.vote !== given.hardState.vote ||
      core.role !== given.role ||
      core.leader !== given.leader ||
      this.leaveJointDue !== given.leaveJointDue
    );
  }

  ready(): Ready {
    const { core, given } = this;
    this.flush();
    const committed = this.takeCommitted();
    const snapshot = this.receiver.takeInstall();
    const entries = core.log.takeUnwritten();
    const snapshotChunk = this.receiver.takeChunk();

    // The commit index alone is a hint that is not worth a write of its own.
    const hardState: HardState = { term: core.term, ...(core.vote !== undefined && { vote: core.vote }), commit: core.log.commit };
    const mustTell = core.term !== given.hardState.term || core.vote !== given.hardState.vote;
    const tells = mustTell || ((entries.length > 0 || snapshot !== undefined) && hardState.commit !== given.hardState.commit);
    const mustPersist = tells || entries.length > 0 || snapshot !== undefined || snapshotChunk !== undefined;
    // Worth keeping, but not a write of its own.
    const peerBoots = mustPersist ? this.identities.takeSeen() : undefined;
    if (tells) given.hardState = hardState;
    given.role = core.role;
    given.leader = core.leader;
    given.leaveJointDue = this.leaveJointDue;

    const end: Position = { term: core.log.termOf(core.log.handed), index: core.log.handed };
    this.writing.push({ number: ++this.number, end, hardState });
    const ready: Ready = {
      upTo: { ...end, ready: this.number },
      mustPersist,
      entries,
      messagesNow: core.messagesNow,
      messagesAfterPersist: core.messagesAfterPersist,
      committed,
      readStates: core.readStates,
      term: core.term,
      role: core.role,
      leaveJointDue: given.leaveJointDue,
      refusals: this.identities.takeRefusals(),
      ...(tells && { hardState }),
      ...(snapshot && { snapshot }),
      ...(snapshotChunk && { snapshotChunk }),
      ...(core.snapshotWanted !== undefined && { snapshotWanted: core.snapshotWanted }),
      ...(core.leader !== undefined && { leader: core.leader }),
      ...(peerBoots && { peerBoots }),
    };
    core.messagesNow = [];
    core.messagesAfterPersist = [];
    core.readStates = [];
    core.snapshotWanted = undefined;
    return ready;
  }

  /** Everything up to that Ready is durable: gives the hard state of the last one, or undefined if there is nothing new. */
  persisted(number: number): HardState | undefined {
    let hardState: HardState | undefined;
    while (this.writing.length > 0 && this.writing[0]!.number <= number) {
      const written = this.writing.shift()!;
      this.core.log.durableTo(written.end);
      hardState = written.hardState;
    }
    return hardState;
  }

  private flush(): void {
    this.core.office?.flush();
    this.forwards.flush();
  }

  private get leaveJointDue(): boolean {
    const { configurations, log, office, knowsCommit } = this.core;
    return office !== undefined && isJoint(configurations.inForce) && configurations.inForceIndex <= log.applied && knowsCommit;
  }

  private get nextCommitted(): number {
    return this.core.log.delivered + 1;
  }

  private get lastDeliverable(): number {
    const { log, rules } = this.core;
    return this.receiver.lacksSnapshot ? 0 : rules.deliverableIndex(log.commit, log.durable);
  }

  private takeCommitted(): Ready['committed'] {
    const { log, limits } = this.core;
    const to = this.lastDeliverable;
    if (this.nextCommitted > to) return [];
    const entries = log.entries(this.nextCommitted, to, limits.committedBytes);
    assert(entries[0]?.index === this.nextCommitted, 'what is not applied yet is still in the log');
    log.deliveredTo(entries.at(-1)!.index);
    return entries;
  }
}
