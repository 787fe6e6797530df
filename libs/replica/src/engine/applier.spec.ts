import { describe, expect, it } from 'vitest';
import type { Entry } from '#raft-ts';
import { Applier, type Flight } from './applier.js';
import { encodeEntry, type EntryContent } from './entry.js';
import { Mutex } from './mutex.js';
import { systemEngineClock } from './ports.js';
import { DatabaseFull, ReplicaStopped, type StateMachine, type Step } from './state-machine.js';

/** Notes what is asked of it, in words. */
class NotingMachine {
  readonly did: string[] = [];
  commitsSinceCheckpoint = 0;
  failing: Error | undefined;
  #index = 0;
  standing = () => ({ index: this.#index, term: 1, durable: 0, schema: 0, now: 0, configuration: {} as never });
  apply = ({ position }: Step) => {
    if (this.failing) throw this.failing;
    this.did.push(`apply ${position.index}/${position.term}`);
    this.#index = position.index;
    return [];
  };
  commitTrial = () => {
    this.did.push('commit');
    this.#index += 1;
  };
  rollbackTrial = () => void this.did.push('rollback');
  checkpoint = () => void this.did.push('checkpoint');
}

const content: EntryContent = { kind: 'batch', base: { index: 0, term: 1 }, schema: 0, now: 0, commands: [] };
const entry = (index: number, term = 1): Entry => ({
  index,
  term,
  type: 'normal',
  data: encodeEntry({ ...content, base: { index: index - 1, term: 1 } }),
});

function made() {
  const machine = new NotingMachine();
  const mutex = new Mutex(() => applier.run());
  const told: string[] = [];
  const applier: Applier = new Applier(machine as unknown as StateMachine & NotingMachine, mutex, systemEngineClock, {
    applied: ({ index }) => void told.push(`applied ${index}`),
    stopped: (why) => void told.push(`stopped ${why}`),
    databaseFull: () => void told.push('full'),
  });
  const flight = (index: number, term = 1): Flight => ({
    position: { index, term },
    content,
    changes: [],
    landed: () => void told.push('landed'),
    lost: () => void told.push('lost'),
  });
  return { machine, mutex, applier, told, flight };
}

describe('the applier', () => {
  it('applies nothing while a capture holds the mutex: it would be undone by the capture’s rollback', async () => {
    const { machine, mutex, applier, told } = made();
    const capture = Promise.withResolvers<void>();
    const held = mutex.tryHold(() => capture.promise);
    applier.add([entry(1)]);
    expect(machine.did).toEqual([]);
    expect(mutex.tryHold(async () => undefined)).toBeUndefined();
    capture.resolve();
    await held;
    expect(machine.did).toEqual(['apply 1/1']);
    expect(told).toEqual(['applied 1']);
  });

  it('commits the open trial of its own entry', () => {
    const { machine, applier, told, flight } = made();
    applier.inFlight(flight(1));
    expect(applier.idle).toBe(false);
    applier.add([entry(1)]);
    expect(machine.did).toEqual(['commit']);
    expect(told).toEqual(['applied 1', 'landed']);
    expect(applier.idle).toBe(true);
  });

  it('undoes the trial first when another entry got its place', () => {
    const { machine, applier, told, flight } = made();
    applier.inFlight(flight(1));
    applier.add([entry(1, 2), entry(2, 2)]);
    expect(machine.did).toEqual(['rollback', 'apply 1/2', 'apply 2/2']);
    expect(told).toEqual(['applied 1', 'lost', 'applied 2']);
  });

  it('undoes the trial on leaving office, and lands all the same if its entry is committed after all', () => {
    const { machine, applier, told, flight } = made();
    applier.inFlight(flight(1));
    applier.leftOffice();
    applier.leftOffice();
    applier.add([entry(1)]);
    expect(machine.did).toEqual(['rollback', 'apply 1/1']);
    expect(told).toEqual(['applied 1', 'landed']);
  });

  it('is overtaken by a snapshot', () => {
    const { machine, mutex, applier, told, flight } = made();
    applier.inFlight(flight(1));
    void mutex.tryHold(() => new Promise(() => undefined));
    applier.add([entry(1), entry(2)]);
    applier.overtaken(5);
    expect(machine.did).toEqual(['rollback']);
    expect(told).toEqual(['lost']);
    expect(applier.idle).toBe(true);
  });

  it('stops for good at an entry that does not fit, and tries again at one for which there was no space', () => {
    const { machine, applier, told } = made();
    machine.failing = new DatabaseFull(undefined);
    applier.add([entry(1)]);
    machine.failing = undefined;
    applier.run();
    expect(told).toEqual(['full', 'applied 1']);
    machine.failing = new ReplicaStopped('no');
    applier.add([entry(2)]);
    machine.failing = undefined;
    applier.add([entry(3)]);
    expect(told.slice(2)).toEqual(['stopped the replica stopped: no']);
    expect(machine.did).toEqual(['apply 1/1']);
  });

  it('stops at an entry whose bytes are damaged', () => {
    const { applier, told } = made();
    const bad = entry(1);
    bad.data[20] = (bad.data[20] as number) ^ 0xff;
    applier.add([bad]);
    expect(told[0]).toMatch(/^stopped/);
  });

  it('moves the WAL into the database now and then, never with a trial open', () => {
    const { machine, applier, flight } = made();
    machine.commitsSinceCheckpoint = 1000;
    applier.inFlight(flight(1));
    applier.run();
    expect(machine.did).toEqual([]);
    applier.add([entry(1)]);
    expect(machine.did).toEqual(['commit', 'checkpoint']);
  });
});
