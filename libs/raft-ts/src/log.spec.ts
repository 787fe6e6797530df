import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RaftLog } from './log.js';
import { MemoryStorage } from './memory-storage.js';
import { entry } from './testing/lone.js';
import type { Entry, Position } from './types.js';

const filled = (entries: Entry[], keep = 1 << 20, base?: Position): { log: RaftLog; storage: MemoryStorage } => {
  const storage = new MemoryStorage(base);
  storage.append(entries);
  return { log: new RaftLog(storage, base?.index ?? 0, 0, keep), storage };
};

describe('the log', () => {
  it('hides what the storage has behind a truncation, before it is written', () => {
    const { log } = filled([entry(1, 1), entry(2, 1, 'old'), entry(3, 1, 'old')]);
    log.truncateFrom(2);
    expect([log.lastIndex, log.term(2), log.durable]).toEqual([1, undefined, 1]);
    log.append(entry(2, 2, 'new'));
    expect(log.entries(1, 9, 1 << 20).map((e) => e.term)).toEqual([1]);
    expect(log.entries(2, 9, 1 << 20).map((e) => e.term)).toEqual([2]);
    expect(log.takeUnwritten()).toEqual([entry(2, 2, 'new')]);
  });

  it('counts as durable what was written and still stands', () => {
    const { log, storage } = filled([entry(1, 1)]);
    log.append(entry(2, 1));
    log.append(entry(3, 1));
    const first = log.takeUnwritten();
    log.truncateFrom(3);
    log.append(entry(3, 2));
    storage.append(first);
    // What was at 3 when it was written is not what is at 3 now; that 2 stands is not known by this either.
    log.durableTo({ index: 3, term: 1 });
    expect(log.durable).toBe(1);
    storage.append(log.takeUnwritten());
    log.durableTo({ index: 3, term: 2 });
    expect(log.durable).toBe(3);
  });

  it('refuses to truncate what is committed, to leave a gap, and to commit what it has not', () => {
    const { log } = filled([entry(1, 1), entry(2, 1)]);
    log.commitTo(2);
    expect(() => log.truncateFrom(2)).toThrow('never truncated');
    expect(() => log.append(entry(4, 1))).toThrow('no gaps');
    expect(() => log.commitTo(3)).toThrow('lies in the log');
  });

  it('begins behind a snapshot at once, whatever the storage still has', () => {
    const { log, storage } = filled([entry(1, 1), entry(2, 1)]);
    log.restore({ index: 9, term: 3 });
    expect([log.firstIndex, log.lastIndex, log.term(9), log.term(2), log.commit]).toEqual([10, 9, 3, undefined, 9]);
    log.append(entry(10, 3));
    const written = log.takeUnwritten();
    log.durableTo({ index: 9, term: 3 });
    expect(log.firstIndex).toBe(10);
    const meta = {
      index: 9,
      term: 3,
      configuration: { voters: [], outgoing: [], learners: [], spares: [], incarnations: {}, removed: [] },
      sizeBytes: 0,
      hash: '',
    };
    storage.install({ meta, replaces: 'everything' });
    storage.append(written);
    log.durableTo({ index: 10, term: 3 });
    expect([log.firstIndex, log.durable, log.term(9)]).toEqual([10, 10, 3]);
  });

  it('finds where another log can agree', () => {
    const { log } = filled([1, 1, 2, 2, 5].map((term, i) => entry(i + 1, term)));
    expect(log.agreesBefore({ index: 9, term: 5 })).toEqual({ index: 5, term: 5 });
    expect(log.agreesBefore({ index: 9, term: 4 })).toEqual({ index: 4, term: 2 });
    expect(log.agreesBefore({ index: 3, term: 1 })).toEqual({ index: 2, term: 1 });
    expect(log.agreesBefore({ index: 3, term: 0 })).toEqual({ index: 0, term: 0 });
    expect(filled([], 0, { index: 7, term: 4 }).log.agreesBefore({ index: 9, term: 3 })).toEqual({ index: 6, term: 0 });
  });

  it('gives at least one entry, and no more than fit', () => {
    const { log } = filled([]);
    for (let i = 1; i <= 5; i++) log.append(entry(i, 1, 'x'.repeat(100)));
    expect(log.entries(1, 5, 1)).toHaveLength(1);
    expect(log.entries(1, 5, 350)).toHaveLength(2);
    expect(log.entries(1, 3, 1 << 20)).toHaveLength(3);
    expect(log.entries(6, 9, 1 << 20)).toEqual([]);
  });

  it('is one log, whatever part is in memory', () => {
    type Step = { do: 'append' | 'write' | 'truncate' | 'deliver'; n: number };
    const step = fc.record<Step>({ do: fc.constantFrom('append', 'append', 'write', 'truncate', 'deliver'), n: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 100, 1 << 20), (steps, keep) => {
        const { log, storage } = filled([], keep);
        let model: Entry[] = [];
        let term = 1;
        for (const { do: what, n } of steps) {
          if (what === 'append') {
            const next = entry(model.length + 1, term, `v${n}`);
            log.append(next);
            model = [...model, next];
          } else if (what === 'write') {
            const entries = log.takeUnwritten();
            storage.append(entries);
            log.durableTo(log.last);
            expect(log.durable).toBe(model.length);
          } else if (what === 'truncate') {
            const from = Math.max(log.commit + 1, model.length - n + 1);
            if (from > model.length) continue;
            log.truncateFrom(from);
            model = model.slice(0, from - 1);
            term++;
          } else {
            log.commitTo(Math.min(log.commit + n, log.durable));
            log.deliveredTo(log.commit);
          }
          expect(log.last).toEqual({ index: model.length, term: model.at(-1)?.term ?? 0 });
          const read: Entry[] = [];
          while (read.length < model.length) read.push(...log.entries(read.length + 1, model.length, 150));
          expect(read).toEqual(model);
          expect(model.map((e) => log.term(e.index))).toEqual(model.map((e) => e.term));
        }
      }),
    );
  });
});
