import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Entry } from '#raft-ts';
import { type Disk, NoSpace } from '../disk/disk.js';
import { realDisk } from '../disk/real-disk.js';
import { Log } from './log.js';
import { LogDamaged } from './recover.js';

const entry = (index: number, size = 100, term = 1): Entry => ({ index, term, type: 'normal', data: new Uint8Array(size).fill(index) });

describe('the log', () => {
  let directory: string;
  const segments = (): string[] => readdirSync(directory).sort();
  const open = (segmentBytes = 64 * 1024): Log => Log.open(realDisk(directory), { segmentBytes });
  const flip = (name: string, offset: number): void => {
    const bytes = readFileSync(join(directory, name));
    bytes[offset] = (bytes[offset] as number) ^ 0x10;
    writeFileSync(join(directory, name), bytes);
  };
  /** Offset of a byte in the data of entry `n` (which is filled with n). */
  const inside = (name: string, n: number): number => readFileSync(join(directory, name)).indexOf(Buffer.alloc(50, n));

  beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'muster-log-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  it('finds again what it made durable: entries, hard state, boots, marker', () => {
    const log = open();
    log.append({
      hardState: { term: 3, vote: 1, commit: 0 },
      boots: ['a', 'b'],
      identity: { cluster: 'c', member: 1, incarnation: 0, founders: [1] },
    });
    log.append({ entries: [entry(1), entry(2, 100, 3)], hardState: { term: 3, vote: 1, commit: 1 } });
    log.append({
      entries: [
        { ...entry(3), type: 'configuration', configuration: { voters: [1], outgoing: [], learners: [], spares: [], incarnations: {}, removed: [] } },
      ],
    });
    log.close();
    const again = open();
    expect(again.state).toMatchObject({ hardState: { term: 3, vote: 1, commit: 1 }, boots: ['a', 'b'], identity: { cluster: 'c', member: 1 } });
    expect([again.firstIndex(), again.lastIndex(), again.term(2)]).toEqual([1, 3, 3]);
    expect(again.entries(1, 3, 1e9).map((e) => [e.index, e.type, e.data[0], e.configuration?.voters])).toEqual([
      [1, 'normal', 1, undefined],
      [2, 'normal', 2, undefined],
      [3, 'configuration', 3, [1]],
    ]);
    expect(again.entries(1, 3, 150)).toHaveLength(1);
  });

  it('truncates before an entry that takes the place of another, also after a restart', () => {
    const log = open();
    log.append({ entries: [entry(1), entry(2), entry(3)] });
    log.append({ entries: [entry(2, 100, 2)] });
    log.close();
    const again = open();
    expect([again.lastIndex(), again.term(2), again.term(3)]).toEqual([2, 2, undefined]);
  });

  it('goes on over many segments, each of which begins with the state', () => {
    const log = open();
    log.append({ hardState: { term: 7, commit: 0 }, boots: ['x'] });
    for (let n = 1; n <= 100; n += 1) log.append({ entries: [entry(n, 3000)] });
    expect(segments().length).toBeGreaterThan(4);
    log.compact(80);
    expect(segments()[0]).not.toBe('0000000001.log');
    log.close();
    const again = open();
    expect(again.state).toMatchObject({ hardState: { term: 7 }, boots: ['x'], compacted: { index: 80, term: 1 } });
    expect([again.firstIndex(), again.lastIndex(), again.term(80), again.term(79)]).toEqual([81, 100, 1, undefined]);
    expect(again.entries(81, 100, 1e9)).toHaveLength(20);
  });

  it('drops a torn last batch whole, and only that', () => {
    const log = open();
    log.append({ entries: [entry(1)] });
    log.append({ entries: [entry(2), entry(3)] });
    log.close();
    flip('0000000001.log', inside('0000000001.log', 2));
    const again = open();
    expect(again.lastIndex()).toBe(1);
    expect(again.tornBytes).toBeGreaterThan(200);
    again.append({ entries: [entry(2, 100, 2)] });
    again.close();
    expect(open().term(2)).toBe(2);
  });

  it('calls a bad record with a later batch behind it damage, and writes nothing', () => {
    const log = open();
    log.append({ entries: [entry(1)] });
    log.append({ entries: [entry(2)] });
    log.append({ entries: [entry(3)] });
    log.close();
    flip('0000000001.log', inside('0000000001.log', 2));
    const before = readFileSync(join(directory, '0000000001.log'));
    expect(() => open()).toThrow(LogDamaged);
    expect(readFileSync(join(directory, '0000000001.log')).equals(before)).toBe(true);
  });

  it('calls it damage when the later batch lies in the next segment, or a segment is missing', () => {
    const log = open();
    for (let n = 1; n <= 60; n += 1) log.append({ entries: [entry(n, 3000)] });
    log.close();
    const saved = readFileSync(join(directory, '0000000001.log'));
    const lastOfFirst = [...Array(60).keys()]
      .map((n) => n + 1)
      .filter((n) => saved.includes(Buffer.alloc(50, n)))
      .at(-1) as number;
    flip('0000000001.log', inside('0000000001.log', lastOfFirst));
    expect(() => open()).toThrow(LogDamaged);
    writeFileSync(join(directory, '0000000001.log'), saved);
    expect(open().lastIndex()).toBe(60);
    rmSync(join(directory, '0000000002.log'));
    expect(() => open()).toThrow(/segment 2 is missing/);
  });

  it('survives a cut at every byte of its last batch', () => {
    const log = open(4096);
    log.append({ hardState: { term: 1, commit: 0 }, entries: [entry(1, 40)] });
    log.close();
    const whole = readFileSync(join(directory, '0000000001.log'));
    const second = open(4096);
    second.append({ entries: [entry(2, 40)] });
    second.close();
    const after = readFileSync(join(directory, '0000000001.log'));
    const from = after.findIndex((byte, n) => byte !== whole[n]);
    const to = after.findLastIndex((byte, n) => byte !== whole[n]) + 1;
    for (let cut = from; cut < to; cut += 1) {
      const torn = Buffer.from(whole);
      after.copy(torn, from, from, cut);
      writeFileSync(join(directory, '0000000001.log'), torn);
      const again = open(4096);
      expect(again.lastIndex()).toBe(1);
      again.close();
    }
  });

  it('makes durable what a killed process had written, before it writes anything behind it', () => {
    const log = open();
    log.append({ entries: [entry(1)] });
    log.close();
    const calls: string[] = [];
    const real = realDisk(directory);
    const watched: Disk = {
      ...real,
      open: (name) => {
        const file = real.open(name);
        return {
          sizeBytes: file.sizeBytes,
          read: (offset, length) => file.read(offset, length),
          write: (offset, bytes) => (calls.push('write'), file.write(offset, bytes)),
          sync: () => (calls.push('sync'), file.sync()),
          close: () => file.close(),
        };
      },
    };
    Log.open(watched, { segmentBytes: 64 * 1024 }).append({ boots: ['next'] });
    expect(calls).toEqual(['sync', 'write', 'sync']);
  });

  it('begins anew behind a snapshot', () => {
    const log = open();
    for (let n = 1; n <= 60; n += 1) log.append({ entries: [entry(n, 3000)] });
    const marker = {
      file: 's',
      hash: 'h',
      index: 500,
      term: 4,
      configuration: { voters: [1], outgoing: [], learners: [], spares: [], incarnations: {}, removed: [] },
    };
    log.append({ reset: { index: 500, term: 4 }, marker, hardState: { term: 4, commit: 500 } });
    expect(segments().length).toBe(1);
    log.append({ entries: [entry(501, 10, 4)] });
    log.close();
    const again = open();
    expect([again.firstIndex(), again.lastIndex(), again.term(500), again.state.marker?.file]).toEqual([501, 501, 4, 's']);
    again.append({ marker: null });
    again.close();
    expect(open().state.marker).toBeUndefined();
  });

  it('says NoSpace before a batch fails, changes nothing, and goes on when there is room again', () => {
    const real = realDisk(directory);
    let full = false;
    const disk: Disk = {
      ...real,
      create: (name, size) => {
        if (full) throw new NoSpace();
        return real.create(name, size);
      },
    };
    const log = Log.open(disk, { segmentBytes: 64 * 1024 });
    for (let n = 1; n <= 12; n += 1) log.append({ entries: [entry(n, 3000)] });
    full = true;
    expect(() => log.prepareNext()).toThrow(NoSpace);
    let last = 12;
    const appendMore = (): void => {
      for (;;) {
        log.append({ entries: [entry(last + 1, 3000)] });
        last += 1;
      }
    };
    expect(appendMore).toThrow(NoSpace);
    expect(log.lastIndex()).toBe(last);
    full = false;
    log.append({ entries: [entry(last + 1, 3000)] });
    log.close();
    expect(open().lastIndex()).toBe(last + 1);
  });

  it('never writes again after an error of another kind', () => {
    const real = realDisk(directory);
    let failing = false;
    const disk: Disk = {
      ...real,
      create: (name, size) => {
        const file = real.create(name, size);
        const sync = (): void => {
          if (failing) throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
          file.sync();
        };
        return { sizeBytes: size, read: (o, l) => file.read(o, l), write: (o, b) => file.write(o, b), sync, close: () => file.close() };
      },
    };
    const log = Log.open(disk);
    log.append({ entries: [entry(1)] });
    failing = true;
    expect(() => log.append({ entries: [entry(2)] })).toThrow(/EIO/);
    failing = false;
    expect(() => log.append({ entries: [entry(2)] })).toThrow(/EIO/);
  });
});
