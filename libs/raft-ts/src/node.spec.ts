import { describe, expect, it } from 'vitest';
import { MemoryStorage, RaftNode, type RaftOptions } from './index.js';
import { noConfiguration } from './configuration.js';

/** A member by itself, its storage, and the wheel that a host turns. */
function single(options: Partial<RaftOptions> = {}) {
  const storage = new MemoryStorage();
  const node = new RaftNode({
    identity: { cluster: 'c', member: 1, incarnation: 0, boots: ['a'] },
    hardState: { term: 0, commit: 0 },
    applied: { index: 0, configuration: { ...noConfiguration, voters: [1] } },
    storage,
    startMs: 0,
    random: () => 0.5,
    ...options,
  });
  const committed: string[] = [];
  const turn = () => {
    while (node.hasReady()) {
      const ready = node.ready();
      storage.append(ready.entries);
      node.persisted(ready.upTo);
      for (const entry of ready.committed) {
        committed.push(entry.type === 'normal' ? new TextDecoder().decode(entry.data) : entry.type);
        node.applied(entry.index);
      }
    }
  };
  return { node, storage, committed, turn };
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe('a sole voter', () => {
  it('leads at once, without waiting for anybody', () => {
    const { node, turn, committed } = single();
    turn();
    expect(node.status()).toMatchObject({ role: 'leader', term: 1, commit: 1, applied: 1 });
    expect(committed).toEqual(['noop']);
  });

  it('keeps its promise to a leader outside of the configuration, until it knows that configuration to be committed', () => {
    const storage = new MemoryStorage();
    const alone = { ...noConfiguration, voters: [1] };
    // Member 2 led, and proposed to leave; what it hears of member 1 is all that its lease, and its office, rest on.
    storage.append([{ term: 1, index: 1, type: 'configuration', data: new Uint8Array(0), configuration: alone }]);
    const before = { index: 0, configuration: { ...noConfiguration, voters: [1, 2] } };
    const node = new RaftNode({
      identity: { cluster: 'c', member: 1, incarnation: 0, boots: ['a'] },
      hardState: { term: 1, commit: 0 },
      applied: before,
      storage,
      startMs: 0,
      random: () => 0.5,
    });
    const head = { cluster: 'c', from: 2, to: 1, incarnation: 0, boot: 'b', term: 1 };
    expect(node.status().role).toBe('follower');
    node.step({ ...head, type: 'heartbeat', commit: 0, round: 1 }, 400);
    node.setPromotable(true, 450);
    node.tick(500);
    node.tick(850);
    expect(node.status().role).toBe('follower');
    for (let nowMs = 900; nowMs <= 1_500; nowMs += 50) node.tick(nowMs);
    const { upTo, hardState } = node.ready();
    expect(hardState).toMatchObject({ term: 2, vote: 1 });
    node.persisted(upTo);
    expect(node.status().role).toBe('leader');
  });

  it('commits what it proposed once its own disk has it, and not before', () => {
    const { node, storage, turn, committed } = single();
    turn();
    expect(node.propose(bytes('x'), { term: 1, index: 2 })).toBe('ok');
    const ready = node.ready();
    expect(ready.entries).toHaveLength(1);
    expect(ready.committed).toEqual([]);
    expect(node.status().commit).toBe(1);
    storage.append(ready.entries);
    node.persisted(ready.upTo);
    turn();
    expect(committed).toEqual(['noop', 'x']);
  });

  it('gives an entry exactly the place it names, or none', () => {
    const { node, turn } = single();
    expect(node.propose(bytes('x'), { term: 1, index: 1 })).toEqual({ refused: 'not-leader' });
    turn();
    expect(node.nextPlace()).toEqual({ term: 1, index: 2 });
    expect(node.propose(bytes('x'), { term: 1, index: 3 })).toEqual({ refused: 'place' });
    expect(node.propose(bytes('x'), { term: 2, index: 2 })).toEqual({ refused: 'place' });
    expect(node.propose(bytes('x'), { term: 1, index: 2 })).toBe('ok');
    expect(node.propose(bytes('y'), { term: 1, index: 2 })).toEqual({ refused: 'place' });
  });

  it('answers a read at the commit index without a round', () => {
    const { node, turn } = single();
    turn();
    node.readIndex(7, 10);
    expect(node.ready().readStates).toEqual([{ context: 7, index: 1 }]);
  });

  it('goes on in a new term after a restart, with everything it had', () => {
    const first = single();
    first.turn();
    first.node.propose(bytes('x'), first.node.nextPlace()!);
    first.turn();
    const second = single({ storage: first.storage, hardState: { term: 1, vote: 1, commit: 1 } });
    while (second.node.hasReady()) {
      const ready = second.node.ready();
      first.storage.append(ready.entries);
      second.node.persisted(ready.upTo);
    }
    expect(second.node.status()).toMatchObject({ role: 'leader', term: 2, commit: 3, last: { term: 2, index: 3 } });
  });

  it('does not lead while it is not promotable, and leads as soon as it is', () => {
    const { node, turn } = single({ promotable: false });
    node.tick(2_000);
    turn();
    expect(node.status().role).toBe('follower');
    node.setPromotable(true, 2_100);
    turn();
    expect(node.status().role).toBe('leader');
  });
});
