import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { internalIdentity } from '../state/command.js';
import { History, type HistoryRow } from './history.js';

const row = (index: number, part = 0, project = 'default', bytes = 10): HistoryRow => ({
  index,
  part,
  time: index * 1000,
  identity: internalIdentity,
  command: `c${index}`,
  project,
  requestId: '',
  changeset: new Uint8Array(bytes),
});

describe('history', () => {
  it('answers by index and project, and tells its gaps', () => {
    const history = new History(new DatabaseSync(':memory:'));
    history.add(1, []);
    history.add(2, [row(2), row(2, 1, 'zoo')]);
    history.skipTo(9);
    history.add(12, [row(12)]);
    history.add(12, [row(12, 5)]);
    expect(history.read({}).map(({ index, part }) => [index, part])).toEqual([
      [2, 0],
      [2, 1],
      [12, 0],
    ]);
    expect(history.read({ project: 'zoo' }).map(({ part }) => part)).toEqual([1]);
    expect(history.read({ from: 3, limit: 1 }).map(({ index }) => index)).toEqual([12]);
    expect(history.span()).toEqual({
      from: 1,
      to: 12,
      gaps: [
        [3, 9],
        [10, 11],
      ],
    });
    expect(history.entry(2)).toHaveLength(2);
    history.close();
  });

  it('is cut by size and by time, the oldest first', () => {
    const bySize = new History(new DatabaseSync(':memory:'), { keptMs: 1e12, keptBytes: 50_000 });
    for (let index = 1; index <= 2000; index += 1) bySize.add(index, [row(index, 0, 'default', 100)]);
    bySize.flush();
    const left = bySize.read({ limit: 5000 });
    expect(left.at(-1)?.index).toBe(2000);
    expect(left.length).toBeLessThan(1100);
    expect(bySize.span().from).toBe(left[0]?.index);

    const byTime = new History(new DatabaseSync(':memory:'), { keptMs: 100_000, keptBytes: 1e9 });
    for (let index = 1; index <= 2000; index += 1) byTime.add(index, [row(index)]);
    byTime.flush();
    expect(byTime.read({ limit: 5000 }).length).toBeLessThan(650);
  });
});
