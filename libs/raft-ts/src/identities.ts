/**
 * Who speaks. A member is known by its id, its incarnation and the boot nonce of its present start. Whoever speaks under another nonce than
 * the one last seen must introduce itself (`hello`) with the nonces that its disk remembers: if the last one seen is missing, that disk was
 * cloned or put back, and has forgotten votes or entries. Such a member is refused by name and its messages count for nothing.
 */
import { isRemoved, membersOf } from './configuration.js';
import type { Core } from './core.js';
import type { MemberId, Message, MessageType, Refusal, RefusalReason } from './types.js';

/** Messages by which the sender is counted; for the others it is enough that it is no impostor. */
const counted: ReadonlySet<MessageType> = new Set<MessageType>(['append-ack', 'append-refused', 'heartbeat-ack', 'vote-answer', 'pre-vote-answer']);

const REPORT_AGAIN_MS = 1_000;

export class Identities {
  /** `incarnation/boot`, last seen, by member. */
  private readonly seen: Map<MemberId, string>;
  private seenChanged = false;
  private refusals: Refusal[] = [];
  private readonly reportedMs = new Map<string, number>();
  private readonly askedMs = new Map<MemberId, number>();

  constructor(
    private readonly core: Core,
    peerBoots: Readonly<Record<MemberId, string>>,
  ) {
    this.seen = new Map(Object.entries(peerBoots).map(([id, boot]) => [Number(id), boot]));
    for (const id of membersOf(core.configurations.inForce)) if (id !== core.id) this.introduce(id);
  }

  /** Whether the message may be heard. If not, its sender is told why where that helps. */
  accepts(message: Message): boolean {
    const { core } = this;
    const { from, incarnation, boot } = message;
    if (from === core.id) return false;
    if (message.type === 'refused') return message.to === core.id;
    if (message.cluster !== core.identity.cluster) return this.refuse(message, 'cluster');
    if (message.to !== core.id) return false;
    // A leader that removed itself is one to the end of its term: it has yet to hand over.
    const leads = from === core.leader && message.term === core.term;
    if (!leads && isRemoved(core.configurations.applied, from)) return this.refuse(message, 'removed');

    const expected = core.configurations.inForce.incarnations[from] ?? 0;
    if (incarnation < expected) return this.refuse(message, 'incarnation');
    // This member may not have heard yet of the configuration that tells the new incarnation; nor does it know then how it may be counted.
    if (incarnation > expected) return !counted.has(message.type) && message.type !== 'hello';

    // To be asked for an introduction is no matter of trust, and two that both started anew must get out of asking each other.
    if (message.type === 'who') return true;

    const seen = this.seen.get(from);
    const known = seen?.startsWith(`${incarnation}/`) ? seen.slice(`${incarnation}/`.length) : undefined;
    if (message.type === 'hello') {
      if (!core.rules.bootFits(known, message.boots) || message.boots.at(-1) !== boot) return this.refuse(message, 'boot');
      if (known !== boot && !core.rules.logFits(message.last.index, core.office?.acknowledged(from) ?? 0)) return this.refuse(message, 'log');
    } else if (known !== undefined && known !== boot) {
      this.askWho(from);
      return false;
    }
    if (known !== boot) {
      this.seen.set(from, `${incarnation}/${boot}`);
      this.seenChanged = true;
    }
    return true;
  }

  onRefused(message: Extract<Message, { type: 'refused' }>): void {
    // One that was meant for an earlier start of this member says nothing about this one.
    if (message.refusedBoot === this.core.boot) this.report({ by: message.from, member: this.core.id, reason: message.reason });
  }

  introduce(to: MemberId): void {
    this.core.send(to, { type: 'hello', boots: this.core.identity.boots, last: this.core.log.last });
  }

  get hasOutput(): boolean {
    return this.refusals.length > 0;
  }

  takeRefusals(): readonly Refusal[] {
    const { refusals } = this;
    if (refusals.length > 0) this.refusals = [];
    return refusals;
  }

  takeSeen(): Readonly<Record<MemberId, string>> | undefined {
    if (!this.seenChanged) return undefined;
    this.seenChanged = false;
    return Object.fromEntries(this.seen);
  }

  private askWho(id: MemberId): void {
    const { nowMs, timers } = this.core;
    const asked = this.askedMs.get(id);
    if (asked !== undefined && nowMs - asked < timers.resendMs) return;
    this.askedMs.set(id, nowMs);
    this.core.send(id, { type: 'who' });
  }

  private refuse(message: Message, reason: RefusalReason): false {
    // Whatever that disk acknowledged, it may have lost: it is not counted for it any more.
    if (reason === 'boot' || reason === 'log') this.core.office?.distrust(message.from);
    this.core.send(message.from, { type: 'refused', reason, refusedBoot: message.boot });
    this.report({ by: this.core.id, member: message.from, reason });
    return false;
  }

  private report(refusal: Refusal): void {
    const key = `${refusal.by} ${refusal.member} ${refusal.reason}`;
    const reported = this.reportedMs.get(key);
    if (reported !== undefined && this.core.nowMs - reported < REPORT_AGAIN_MS) return;
    this.reportedMs.set(key, this.core.nowMs);
    this.refusals.push(refusal);
  }
}
