import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { selfSigned, type KeyPair } from '#identities/host';
import type { EngineFace } from '../engine/face.js';
import { addPet, Home, probe, request, runProbe } from '../engine/testing/fixture.js';
import type { MembershipChange } from '../state/command.js';
import { GrpcTransport } from './grpc-transport.js';

interface Member {
  id: number;
  home: Home;
  engine: EngineFace;
  transport: GrpcTransport;
  address: string;
}

const until = async (condition: () => boolean): Promise<void> => {
  for (let n = 0; n < 500 && !condition(); n += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(condition()).toBe(true);
};

/** Real gRPC on loopback, real logs: a cluster as it grows from one. */
describe('a cluster that grows over gRPC', () => {
  let pair: KeyPair;
  let members: Member[];

  const open = async (id: number, home: Home, port = 0): Promise<Member> => {
    const transport = new GrpcTransport({ self: id, cluster: 'test', network: { credentials: pair, peers: [] } });
    const identity = { cluster: 'test', member: id, incarnation: 0, ...(id === 1 ? { founders: [1] } : {}) };
    const engine = await home.open({ transport, identity });
    return { id, home, engine, transport, address: `127.0.0.1:${await transport.listen(`127.0.0.1:${port}`)}` };
  };
  const tellAll = (): void => {
    for (const { transport } of members) transport.configure({ credentials: pair, peers: members.map(({ id, address }) => ({ id, address })) });
  };
  const change = (through: Member, changes: MembershipChange[]) => {
    probe.work = (context) => context.configure(changes);
    return through.engine.submit(request(runProbe, {}));
  };
  const join = async (id: number): Promise<Member> => {
    const joiner = await open(id, new Home());
    members.push(joiner);
    await change(members[0]!, [{ id, role: 'learner' }]);
    tellAll();
    await joiner.engine.ready();
    await joiner.engine.barrier();
    await change(joiner, [{ id, role: 'voter' }]);
    return joiner;
  };
  const pets = ({ home }: Member): string[] => {
    using db = new DatabaseSync(home.replicaPath, { readOnly: true });
    return (db.prepare('SELECT name FROM pets ORDER BY id').all() as { name: string }[]).map(({ name }) => name);
  };
  const leader = (): Member => members.find(({ engine }) => engine.status().role === 'leader')!;

  beforeEach(async () => {
    pair = await selfSigned('cluster');
    members = [await open(1, new Home())];
    await members[0]!.engine.ready();
    await members[0]!.engine.submit(request(addPet, { name: 'first' }));
    await join(2);
    await join(3);
  });
  afterEach(async () => {
    await Promise.all(members.map(({ engine }) => engine.close()));
    for (const { home } of members) home.remove();
  });

  it('gives the new ones everything, and takes writes through each of them', async () => {
    for (const member of members) {
      await member.engine.submit(request(addPet, { name: `by ${member.id}` }));
      expect(pets(member)).toContain(`by ${member.id}`);
    }
    await Promise.all(members.map(({ engine }) => engine.barrier()));
    for (const member of members) expect(pets(member)).toEqual(['first', 'by 1', 'by 2', 'by 3']);
  });

  it('goes on when the leader has handed over and left, and works with it when it is back', async () => {
    const gone = leader();
    await gone.engine.close();
    members = members.filter((member) => member !== gone);
    const beganMs = performance.now();
    await members[0]!.engine.submit(request(addPet, { name: 'meanwhile' }));
    expect(performance.now() - beganMs).toBeLessThan(500);
    members.push(await open(gone.id, gone.home));
    tellAll();
    await members[2]!.engine.ready();
    await members[2]!.engine.barrier();
    expect(pets(members[2]!)).toEqual(['first', 'meanwhile']);
  });

  it('removes one, that has no say any more', async () => {
    const leaving = members.find((member) => member !== leader())!;
    await change(leader(), [{ id: leaving.id, role: 'removed' }]);
    members = members.filter((member) => member !== leaving);
    tellAll();
    await leader().engine.submit(request(addPet, { name: 'without it' }));
    await expect(leaving.engine.submit(request(addPet, { name: 'mine' }, { timeoutMs: 700 }))).rejects.toMatchObject({ kind: 'unavailable' });
    await leaving.engine.close();
    leaving.home.remove();
  });

  it('swaps voters through a joint configuration, and leaves that by itself', async () => {
    const [first, second] = members.filter((member) => member !== leader()) as [Member, Member];
    await change(leader(), [{ id: first.id, role: 'learner' }]);
    await change(leader(), [
      { id: first.id, role: 'voter' },
      { id: second.id, role: 'learner' },
    ]);
    await leader().engine.submit(request(addPet, { name: 'after' }));
    await until(() => second.engine.status().role === 'learner' && first.engine.status().role === 'follower');
    // The change after a joint one waits until that is left.
    await change(leader(), [{ id: second.id, role: 'voter' }]);
    await until(() => second.engine.status().role === 'follower');
  });

  it('refuses a change that makes no sense, and goes on', async () => {
    await expect(
      change(
        leader(),
        members.map(({ id }) => ({ id, role: 'removed' as const })),
      ),
    ).rejects.toMatchObject({ kind: 'invalid' });
    await leader().engine.submit(request(addPet, { name: 'after' }));
  });
});
