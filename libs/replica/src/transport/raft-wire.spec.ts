import { describe, expect, it } from 'vitest';
import { RaftMessage, type RaftRefusalReason } from '#members/wire';
import type { Configuration, Message, MessageBody } from '#raft-ts';
import { fromWireMessage, toWireMessage } from './raft-wire.js';

const head = { cluster: 'c', from: 1, to: 2, incarnation: 0, boot: 'b', term: 7 };
const configuration: Configuration = { voters: [1, 2], outgoing: [1], learners: [3], spares: [], incarnations: { 3: 2 }, removed: [9] };
const meta = { index: 40, term: 6, configuration, sizeBytes: 2 ** 40, hash: 'ff' };
const previous = { term: 6, index: 41 };

/** One of each. Zeros and empty lists on purpose: the wire does not carry them. */
const bodies: MessageBody[] = [
  {
    type: 'append',
    previous,
    entries: [
      { index: 42, term: 7, type: 'normal', data: Buffer.from([1, 2, 3]) },
      { index: 43, term: 7, type: 'noop', data: Buffer.alloc(0) },
      { index: 44, term: 7, type: 'configuration', data: Buffer.from('rows'), configuration },
    ],
    commit: 0,
    round: 2 ** 45,
  },
  { type: 'append', previous: { term: 0, index: 0 }, entries: [], commit: 3, round: 0 },
  { type: 'append-ack', index: 44, round: 1 },
  { type: 'append-refused', index: 44, hint: { term: 0, index: 0 }, round: 0 },
  { type: 'heartbeat', commit: 0, round: 0 },
  { type: 'heartbeat-ack', round: 0 },
  { type: 'pre-vote', last: previous },
  { type: 'pre-vote-answer', granted: false },
  { type: 'vote', last: previous, transfer: true },
  { type: 'vote-answer', granted: true },
  { type: 'timeout-now' },
  { type: 'read-index', id: 5 },
  { type: 'read-index-answer', id: 5, askerBoot: 'x', index: 44 },
  { type: 'snapshot-chunk', meta, offset: 0, data: Buffer.from('bytes') },
  { type: 'snapshot-ack', index: 40, hash: 'ff', receivedBytes: 0, status: 'more' },
  { type: 'snapshot-ack', index: 40, hash: 'ff', receivedBytes: 5, status: 'bad' },
  { type: 'snapshot-request', minIndex: 41 },
  { type: 'hello', boots: ['a', 'b'], last: { term: 0, index: 0 } },
  { type: 'who' },
  { type: 'refused', reason: 'boot', refusedBoot: 'a' },
];

describe('a message on its way', () => {
  it.each(bodies)('arrives as it was sent: $type', (body) => {
    const message = { ...head, ...body } as Message;
    const arrived = fromWireMessage(RaftMessage.decode(RaftMessage.encode(toWireMessage(message)).finish()));
    expect(arrived).toEqual(message);
  });

  it('of a later build is as good as lost', () => {
    expect(fromWireMessage(RaftMessage.decode(RaftMessage.encode(RaftMessage.decode(Buffer.alloc(0))).finish()))).toBeUndefined();
    const odd = toWireMessage({ ...head, type: 'refused', reason: 'log', refusedBoot: '' });
    expect(fromWireMessage({ ...odd, refused: { ...odd.refused!, reason: 77 as RaftRefusalReason } })).toBeUndefined();
  });
});
