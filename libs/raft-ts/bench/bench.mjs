// How fast the pure library is: three members in one process, no disk, no network. Run after `npm run build`:
//
//     node --expose-gc libs/raft-ts/bench/bench.mjs
import { MemoryStorage, RaftNode, noConfiguration } from '#raft-ts';

const line = (what, value) => console.log(`${what.padEnd(62)} ${value}`);

class Group {
  constructor(voters, learners = [], spares = []) {
    const configuration = { ...noConfiguration, voters, learners, spares };
    this.nowMs = 0;
    this.committed = 0;
    this.members = new Map(
      [...voters, ...learners, ...spares].map((id) => {
        const storage = new MemoryStorage();
        const node = new RaftNode({
          identity: { cluster: 'bench', member: id, incarnation: 0, boots: [`b${id}`] },
          hardState: { term: 0, commit: 0 },
          applied: { index: 0, configuration },
          storage,
          startMs: 0,
          random: () => id / 1000,
        });
        return [id, { id, node, storage }];
      }),
    );
    while (!this.leader) {
      this.nowMs += 50;
      for (const { node } of this.members.values()) node.tick(this.nowMs);
      this.settle();
      this.leader = [...this.members.values()].find((m) => m.node.nextPlace());
    }
  }

  settle() {
    let messages = [];
    for (;;) {
      for (const { id, node, storage } of this.members.values()) {
        while (node.hasReady()) {
          const ready = node.ready();
          storage.append(ready.entries);
          node.persisted(ready.upTo);
          for (const m of ready.messagesNow) messages.push(m);
          for (const m of ready.messagesAfterPersist) messages.push(m);
          if (ready.committed.length > 0) {
            const { index } = ready.committed.at(-1);
            node.applied(index);
            if (id === this.leader?.id) this.committed += ready.committed.length;
            // As a host would: the log does not grow for ever.
            if (index - storage.firstIndex() > 100_000) storage.compact(index - 50_000);
          }
        }
      }
      if (messages.length === 0) return;
      const batch = messages;
      messages = [];
      for (const m of batch) this.members.get(m.to).node.step(m, this.nowMs);
    }
  }
}

function proposals(batch, seconds) {
  const group = new Group([1, 2, 3]);
  const { node } = group.leader;
  const data = new Uint8Array(100);
  const start = performance.now();
  group.committed = 0;
  let ticks = 0;
  while (performance.now() - start < seconds * 1000) {
    const place = node.nextPlace();
    for (let i = 0; i < batch; i++) node.propose(data, { term: place.term, index: place.index + i });
    group.settle();
    const now = Math.floor((performance.now() - start) / 50);
    if (now > ticks) {
      ticks = now;
      group.nowMs += 50;
      for (const m of group.members.values()) m.node.tick(group.nowMs);
    }
  }
  return group.committed / ((performance.now() - start) / 1000);
}

proposals(100, 1);
for (const batch of [1, 10, 100, 1000]) line(`proposals of 100 bytes a second, three members, batches of ${batch}`, Math.round(proposals(batch, 2)));

{
  const group = new Group([1, 2, 3]);
  const { node } = group.leader;
  const reads = (n) => {
    const start = performance.now();
    let answered = 0;
    for (let round = 0; performance.now() - start < 1000; round++) {
      for (let i = 0; i < n; i++) node.readIndex(round * n + i, group.nowMs);
      answered += n;
      group.settle();
    }
    return ((performance.now() - start) * 1000) / answered;
  };
  reads(10);
  line('ReadIndex, one at a time, µs', reads(1).toFixed(2));
  line('ReadIndex, a thousand waiting, µs each', reads(1000).toFixed(2));
}

{
  const ids = Array.from({ length: 100 }, (_, i) => i + 1);
  globalThis.gc?.();
  const group = new Group(ids.slice(0, 3), ids.slice(3, 5), ids.slice(5));
  for (let i = 0; i < 50; i++) {
    group.nowMs += 50;
    for (const m of group.members.values()) m.node.tick(group.nowMs);
    group.settle();
  }
  if (globalThis.gc) {
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    const kept = [];
    for (let i = 0; i < 20; i++) kept.push(new Group(ids.slice(0, 3), ids.slice(3, 5), ids.slice(5)));
    globalThis.gc();
    const each = (process.memoryUsage().heapUsed - before) / 20 / 1024;
    line('heap of 100 members of one cluster, KiB (leader and 99 others)', each.toFixed(0));
    kept.length = 0;
  }
  // 20 ticks are one virtual second.
  const spend = { leader: 0, follower: 0 };
  const rounds = 2000;
  let messages = [];
  for (let i = 0; i < rounds; i++) {
    group.nowMs += 50;
    for (const m of group.members.values()) {
      const start = performance.now();
      for (const message of messages) if (message.to === m.id) m.node.step(message, group.nowMs);
      m.node.tick(group.nowMs);
      const out = [];
      while (m.node.hasReady()) {
        const ready = m.node.ready();
        m.storage.append(ready.entries);
        m.node.persisted(ready.upTo);
        out.push(...ready.messagesNow, ...ready.messagesAfterPersist);
      }
      m.out = out;
      spend[m === group.leader ? 'leader' : 'follower'] += performance.now() - start;
    }
    messages = [...group.members.values()].flatMap((m) => m.out);
  }
  line('idle tick of a leader with 99 peers, its answers included, µs', ((spend.leader * 1000) / rounds).toFixed(1));
  line('idle tick of a follower, µs', ((spend.follower * 1000) / rounds / 99).toFixed(2));
}

{
  const ids = Array.from({ length: 100 }, (_, i) => i + 1);
  const group = new Group(ids);
  const rounds = 400;
  const start = performance.now();
  for (let i = 0; i < rounds; i++) {
    group.nowMs += 50;
    group.leader.node.tick(group.nowMs);
    for (const m of group.members.values()) if (m !== group.leader) m.node.tick(group.nowMs);
    group.settle();
  }
  line('idle tick of all of 100 voters together, µs', (((performance.now() - start) * 1000) / rounds).toFixed(0));
}
