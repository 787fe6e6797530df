import type { Configuration, Entry, Message, MessageType, RefusalReason, SnapshotMeta } from '#raft-ts';
import { RaftEntryType, RaftMessage, RaftRefusalReason, RaftSnapshotStatus } from '#members/wire';

/**
 * Messages of raft-ts as the protocol has them. The bodies have the same fields under the same names; what differs is the envelope (a oneof with
 * one field for each type) and the enumerations, which are words here and numbers there.
 */
const fieldOf = {
  append: 'append',
  'append-ack': 'appendAck',
  'append-refused': 'appendRefused',
  heartbeat: 'heartbeat',
  'heartbeat-ack': 'heartbeatAck',
  'pre-vote': 'preVote',
  'pre-vote-answer': 'preVoteAnswer',
  vote: 'vote',
  'vote-answer': 'voteAnswer',
  'timeout-now': 'timeoutNow',
  'read-index': 'readIndex',
  'read-index-answer': 'readIndexAnswer',
  'snapshot-chunk': 'snapshotChunk',
  'snapshot-ack': 'snapshotAck',
  'snapshot-request': 'snapshotRequest',
  hello: 'hello',
  who: 'who',
  refused: 'refused',
} as const satisfies Record<MessageType, keyof RaftMessage>;

const types = Object.entries(fieldOf) as [MessageType, (typeof fieldOf)[MessageType]][];

const entryTypes = { normal: RaftEntryType.NORMAL, configuration: RaftEntryType.CONFIGURATION, noop: RaftEntryType.NOOP } as const;
const statuses = { more: RaftSnapshotStatus.MORE, done: RaftSnapshotStatus.DONE, bad: RaftSnapshotStatus.BAD } as const;
const reasons: Record<RefusalReason, RaftRefusalReason> = {
  cluster: RaftRefusalReason.CLUSTER,
  removed: RaftRefusalReason.REMOVED,
  incarnation: RaftRefusalReason.INCARNATION,
  boot: RaftRefusalReason.BOOT,
  log: RaftRefusalReason.LOG,
};

function wordOf<W extends string>(table: Readonly<Record<W, number>>, number: number): W | undefined {
  return (Object.keys(table) as W[]).find((word) => table[word] === number);
}

export function toWireMessage(message: Message): RaftMessage {
  const { cluster, from, to, incarnation, boot, term } = message;
  return { cluster, from, to, incarnation, boot, term, [fieldOf[message.type]]: bodyOf(message) };
}

function bodyOf(message: Message): unknown {
  switch (message.type) {
    case 'append':
      return { ...message, entries: message.entries.map((entry) => ({ ...entry, type: entryTypes[entry.type] })) };
    case 'snapshot-ack':
      return { ...message, status: statuses[message.status] };
    case 'refused':
      return { ...message, reason: reasons[message.reason] };
    default:
      return message;
  }
}

/** Undefined for what this build does not know: a message of a later one, which may be lost like any other. */
export function fromWireMessage(wire: RaftMessage): Message | undefined {
  const known = types.find(([, field]) => wire[field] !== undefined);
  if (!known) return undefined;
  const [type, field] = known;
  const { cluster, from, to, incarnation, boot, term } = wire;
  const body = decodedBody(type, wire[field] as object);
  return body && ({ cluster, from, to, incarnation, boot, term, type, ...body } as Message);
}

function decodedBody(type: MessageType, body: object): object | undefined {
  switch (type) {
    case 'append': {
      const { entries } = body as NonNullable<RaftMessage['append']>;
      const decoded = entries.map((entry): Entry | undefined => {
        const { configuration, data, index, term } = entry;
        const word = wordOf(entryTypes, entry.type);
        return word && { index, term, type: word, data, ...(configuration ? { configuration: configuration satisfies Configuration } : {}) };
      });
      return decoded.includes(undefined) ? undefined : { ...body, entries: decoded };
    }
    case 'snapshot-chunk':
      return (body as { meta?: SnapshotMeta }).meta && body;
    case 'snapshot-ack': {
      const status = wordOf(statuses, (body as { status: number }).status);
      return status && { ...body, status };
    }
    case 'refused': {
      const reason = wordOf(reasons, (body as { reason: number }).reason);
      return reason && { ...body, reason };
    }
    default:
      return body;
  }
}
