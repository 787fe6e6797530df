import { describe, expect, it } from 'vitest';
import { cpuStatistics1, cpuStatistics2, diskStatistics1, diskStatistics2, memoryStatistics } from './cgroup-statistics.js';

describe('statistics of a cgroup', () => {
  it('names memory alike on version 1 and 2, and counts the cgroups below on version 1', () => {
    expect(memoryStatistics('cache 1\nrss 2\nmapped_file 3\ntotal_cache 10\ntotal_rss 20\ntotal_mapped_file 30\n')).toEqual({
      cache: 10,
      rss: 20,
      mapped: 30,
    });
    expect(memoryStatistics('anon 2\nfile 1\nfile_mapped 3\nactive_anon 4')).toEqual({ rss: 2, cache: 1, mapped: 3, active_anon: 4 });
  });

  it('reads processors, one by one where the kernel does', () => {
    expect(cpuStatistics1('cpu user system\n0 100 20\n1 5 6\n')).toEqual([
      { cpu: '0', userNs: 100, systemNs: 20 },
      { cpu: '1', userNs: 5, systemNs: 6 },
    ]);
    expect(cpuStatistics2('usage_usec 5\nuser_usec 3\nsystem_usec 2')).toEqual([{ cpu: '0', userNs: 3000, systemNs: 2000 }]);
    expect(cpuStatistics2('')).toEqual([]);
  });

  it('reads disks', () => {
    const disk = { readBytes: 4096, writtenBytes: 0, reads: 1, writes: 2 };
    expect(diskStatistics1('8:0 Read 4096\n8:0 Write 0\n8:0 Sync 9\nTotal 4096', '8:0 Read 1\n8:0 Write 2').get('8:0')).toEqual(disk);
    expect(diskStatistics2('8:0 rbytes=4096 wbytes=0 rios=1 wios=2 dbytes=0 dios=0').get('8:0')).toEqual(disk);
    expect(diskStatistics1('Total 0', '').size).toBe(0);
  });
});
