import { describe, expect, it } from 'vitest';
import { addRange, baseIdmap, chooseIdmap, fromHost, idmapFromJson, idmapLines, idmapToJson, parseRawIdmap, sameIdmap, toHost } from './idmap.js';
import { hostIds, mayMap, subIds } from './host-ids.js';

const host = { base: 1_000_000, size: 1_000_000_000 };

describe('idmap', () => {
  it('is written as LXD writes it', () => {
    const text =
      '[{"Isuid":true,"Isgid":false,"Hostid":1000000,"Nsid":0,"Maprange":65536},{"Isuid":false,"Isgid":true,"Hostid":1000000,"Nsid":0,"Maprange":65536}]';
    expect(idmapToJson(baseIdmap(1_000_000, 65_536))).toBe(text);
    expect(idmapFromJson(text)).toEqual(baseIdmap(1_000_000, 65_536));
    expect(idmapFromJson('')).toEqual([]);
    expect(() => idmapFromJson('[{"Hostid":"x"}]')).toThrow(expect.objectContaining({ kind: 'invalid' }));
    expect(idmapLines(baseIdmap(5, 6))).toEqual(['u 0 5 6', 'g 0 5 6']);
  });

  it('splits a range for what raw.idmap takes out of it', () => {
    const { idmap } = chooseIdmap(host, { isolated: false, raw: 'both 1000 1000\ngid 50-60 500-510', others: [] });
    expect(idmapLines(idmap)).toEqual([
      'u 0 1000000 1000',
      'u 1000 1000 1',
      'g 1000 1000 1',
      'u 1001 1001001 999998999',
      'g 0 1000000 500',
      'g 500 50 11',
      'g 511 1000511 489',
      'g 1001 1001001 999998999',
    ]);
    expect(toHost(idmap, 'gid', 505)).toBe(55);
    expect(toHost(idmap, 'uid', 505)).toBe(1_000_505);
    expect(fromHost(idmap, 'uid', 1000)).toBe(1000);
    expect(fromHost(idmap, 'uid', 999)).toBeUndefined();
  });

  it('keeps every other id where it was', () => {
    const idmap = addRange([{ isUid: true, isGid: true, hostId: 100_000, nsId: 0, range: 100 }], {
      isUid: true,
      isGid: false,
      hostId: 7,
      nsId: 40,
      range: 10,
    });
    for (let id = 0; id < 100; id++) {
      expect(toHost(idmap, 'gid', id)).toBe(100_000 + id);
      expect(toHost(idmap, 'uid', id)).toBe(id >= 40 && id < 50 ? id - 33 : 100_000 + id);
    }
  });

  it('refuses host ids of the own range and malformed lines', () => {
    expect(() => chooseIdmap(host, { isolated: false, raw: 'both 1000005 1000', others: [] })).toThrow('Host id is in the range of subids');
    for (const [line, words] of [
      ['both 1', 'Invalid ID map line'],
      ['both 1-2 1', 'different sizes'],
      ['each 1 1', 'Invalid ID map type'],
      ['uid 1-2-3 1', 'Invalid ID map range'],
      ['uid 5-2 5-2', 'Invalid ID map range'],
    ] as const) {
      expect(() => parseRawIdmap(line)).toThrow(words);
    }
  });

  it('knows equal maps', () => {
    const both = [{ isUid: true, isGid: true, hostId: 5, nsId: 0, range: 10 }];
    expect(sameIdmap(both, baseIdmap(5, 10))).toBe(true);
    expect(sameIdmap(both, baseIdmap(5, 11))).toBe(false);
  });

  it('gives isolated containers the first hole', () => {
    const choose = (others: { base: number; size: number }[], size?: number): number => chooseIdmap(host, { isolated: true, size, others }).base;
    expect(choose([])).toBe(1_065_536);
    expect(choose([{ base: 1_065_536, size: 65_536 }])).toBe(1_131_072);
    const gap = [
      { base: 1_196_608, size: 65_536 },
      { base: 1_065_536, size: 65_536 },
    ];
    expect(choose(gap)).toBe(1_131_072);
    expect(choose(gap, 100_000)).toBe(1_262_144);
    expect(chooseIdmap(host, { isolated: true, base: 5_000_000, others: gap }).idmap).toEqual(baseIdmap(5_000_000, 65_536));
    expect(() => choose([], 2_000_000_000)).toThrow(expect.objectContaining({ kind: 'unavailable' }));
  });
});

describe('ids of the host', () => {
  it('are the first useful range of root', () => {
    const subuid = '# comment\nann:100000:65536\nroot:5000:10\nroot:200000:70000\nroot:900000:90000\nbroken\n';
    expect(subIds(subuid, 'root')).toHaveLength(3);
    expect(hostIds({ subuid, subgid: 'root:300000:65536\n' })).toEqual({
      uid: { base: 200_000, size: 70_000 },
      gid: { base: 300_000, size: 65_536 },
    });
    expect(hostIds({ subuid: 'root:1:10\n', subgid: 'root:1:10\n' })).toBeUndefined();
  });

  it('are a large range where nobody gave one', () => {
    for (const files of [
      { subuid: undefined, subgid: undefined },
      { subuid: '', subgid: '' },
    ]) {
      expect(hostIds(files)).toEqual({ uid: host, gid: host });
    }
  });

  it('must be root’s to be mapped by hand', () => {
    const entry = { isUid: true, isGid: false, hostId: 1000, nsId: 1000, range: 1 };
    expect(mayMap(entry, { subuid: 'root:1000:1\n', subgid: 'root:7:1\n' })).toBe(true);
    expect(mayMap({ ...entry, isGid: true }, { subuid: 'root:1000:1\n', subgid: 'root:7:1\n' })).toBe(false);
    expect(mayMap(entry, { subuid: undefined, subgid: undefined })).toBe(true);
  });
});
