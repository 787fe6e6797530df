import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cgroup, listCgroups } from './cgroup.js';
import { detectCgroups, layoutOf, type CgroupLayout } from './cgroup-layout.js';
import { cgroupSettings } from './cgroup-limits.js';
import { parseMountinfo } from './mountinfo.js';
import { spawn } from './spawn.js';

const v2: CgroupLayout = layoutOf(parseMountinfo('31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n'), () => [
  'cpu',
  'cpuset',
  'io',
  'memory',
  'pids',
]);

describe('layout', () => {
  it('tells a unified machine from a hybrid one', () => {
    expect(v2.kind).toBe('v2');
    expect(v2.controllers.get('memory')).toEqual({ version: 2, root: '/sys/fs/cgroup' });
    const hybrid = layoutOf(
      parseMountinfo(
        '1 0 0:1 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n2 0 0:2 / /c/systemd rw - cgroup cgroup rw,name=systemd\n3 0 0:3 / /c/u rw - cgroup2 c rw\n',
      ),
      () => ['hugetlb'],
    );
    expect(hybrid.kind).toBe('hybrid');
    expect([...hybrid.controllers.keys()]).toEqual(['cpu', 'cpuacct', 'hugetlb']);
    expect(hybrid.hierarchies).toEqual(['/c/cpu,cpuacct', '/c/systemd', '/c/u']);
  });
});

describe('settings', () => {
  it('says limits in the words of version 2', () => {
    const { settings, missing } = cgroupSettings(v2, {
      memoryBytes: 1024,
      memorySoftBytes: null,
      swapBytes: 0,
      swappiness: 10,
      cpuShares: 1024,
      cpuQuota: { quotaUs: 50_000, periodUs: 100_000 },
      cpus: '0-1',
      processes: 5,
    });
    expect(settings.map(({ key, value }) => `${key}=${value}`)).toEqual([
      'memory.max=1024',
      'memory.swap.max=0',
      'memory.high=max',
      'cpu.weight=100',
      'cpu.max=50000 100000',
      'cpuset.cpus=0-1',
      'pids.max=5',
    ]);
    expect(missing).toEqual(['swappiness']);
  });
});

describe('Cgroup', () => {
  const layout = detectCgroups();
  const name = `host-kit-${createHash('sha256').update(String(process.pid)).digest('hex').slice(0, 8)}`;
  const cgroup = new Cgroup(layout, name);
  beforeEach(() => cgroup.create());
  afterEach(() => {
    cgroup.kill();
    cgroup.remove();
    expect(cgroup.exists()).toBe(false);
  });

  it('tells what runs in it, and kills it', async () => {
    expect(listCgroups(layout, 'host-kit-')).toContain(name);
    const child = spawn({ path: '/bin/sleep', args: ['30'] });
    for (const controller of ['memory', 'cpu', 'cpuacct', 'pids'] as const)
      if (layout.controllers.has(controller)) cgroup.write(controller, 'cgroup.procs', String(child.pid));
    expect(cgroup.pids()).toEqual([child.pid]);
    expect(cgroup.usage()).toMatchObject({
      processes: 1,
      memoryLimitBytes: null,
      oomKills: 0,
      cpuNs: expect.any(Number),
      memoryBytes: expect.any(Number),
    });
    expect(() => cgroup.remove()).toThrow(expect.objectContaining({ kind: 'conflict' }));
    cgroup.kill();
    expect((await child.ended).signal).toBe('SIGKILL');
    cgroup.remove();
    expect(cgroup.usage().memoryBytes).toBeUndefined();
    expect(() => cgroup.limit({ processes: 3 })).toThrow(expect.objectContaining({ kind: 'notFound' }));
  });

  it('raises and lowers limits in whatever order the kernel wants', () => {
    const mega = 1024 * 1024;
    for (const memoryBytes of [64 * mega, 16 * mega, 128 * mega, null]) {
      expect(cgroup.limit({ memoryBytes, swapBytes: memoryBytes === null ? null : mega })).toEqual([]);
      expect(cgroup.usage().memoryLimitBytes).toBe(memoryBytes);
    }
    expect(cgroup.limit({ cpuShares: 512, cpuQuota: { quotaUs: 20_000, periodUs: 100_000 }, processes: 7 })).toEqual([]);
    expect(cgroup.limit({ cpuQuota: null, processes: null })).toEqual([]);
    expect(() => cgroup.limit({ processes: -7 })).toThrow(expect.objectContaining({ kind: 'invalid' }));
  });

  it('counts processes that were killed for want of memory', async () => {
    cgroup.limit({ memoryBytes: 8 * 1024 * 1024, swapBytes: 0 });
    const child = spawn({ path: '/bin/sh', args: ['-c', 'sleep 0.2; exec perl -e \'$n = 5e7; $x = "x" x $n; sleep 30\''] });
    cgroup.write('memory', 'cgroup.procs', String(child.pid));
    expect((await child.ended).signal).toBe('SIGKILL');
    expect(cgroup.usage().oomKills).toBe(1);
  });

  it('refuses names that lead elsewhere', () => {
    for (const bad of ['', '..', 'a/../b', '/a']) expect(() => new Cgroup(layout, bad)).toThrow(expect.objectContaining({ kind: 'invalid' }));
  });
});
