import { MemoryStorage, RaftNode, noConfiguration, type Message } from './index.js';

/** Three members in one process: a clock of ours, a network that is an array, a "disk" that is an object. */
export function example(): string[][] {
  const configuration = { ...noConfiguration, voters: [1, 2, 3] };
  const network: Message[] = [];
  let nowMs = 0;

  const members = [1, 2, 3].map((id) => {
    const disk = { log: new MemoryStorage(), hardState: { term: 0, commit: 0 }, boots: [`first start of ${id}`] };
    const node = new RaftNode({
      identity: { cluster: 'example', member: id, incarnation: 0, boots: disk.boots },
      hardState: disk.hardState,
      applied: { index: 0, configuration },
      storage: disk.log,
      startMs: nowMs,
      random: Math.random,
    });
    return { id, node, disk, applied: [] as string[] };
  });

  /** The wheel: send, write, send the rest, apply. */
  const turn = ({ node, disk, applied }: (typeof members)[number]): void => {
    while (node.hasReady()) {
      const ready = node.ready();
      network.push(...ready.messagesNow);
      if (ready.hardState) disk.hardState = ready.hardState; // In earnest: one batch with the entries, and an fsync.
      disk.log.append(ready.entries);
      network.push(...ready.messagesAfterPersist);
      node.persisted(ready.upTo);
      for (const entry of ready.committed) {
        if (entry.type === 'normal') applied.push(new TextDecoder().decode(entry.data));
        node.applied(entry.index);
      }
    }
  };

  const run = (ms: number): void => {
    for (const end = nowMs + ms; nowMs < end; nowMs += 50) {
      for (const member of members) {
        member.node.tick(nowMs);
        turn(member);
      }
      for (let m = network.shift(); m; m = network.shift()) {
        const to = members[m.to - 1]!;
        to.node.step(m, nowMs);
        turn(to);
      }
    }
  };

  run(3_000); // Somebody is elected.
  const leader = members.find((member) => member.node.nextPlace())!;
  leader.node.propose(new TextEncoder().encode('hello'), leader.node.nextPlace()!);
  run(200);
  return members.map((member) => member.applied);
}
