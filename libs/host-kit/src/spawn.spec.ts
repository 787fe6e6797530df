import { spawn as nodeSpawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { spawn } from './spawn.js';

describe('spawn', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-kit-spawn-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const say = async (args: string[], options: Partial<Parameters<typeof spawn>[0]> = {}): Promise<string> => {
    const path = join(folder, 'out');
    const fd = openSync(path, 'w');
    const child = spawn({ path: '/bin/sh', args, stdio: ['null', fd, fd], ...options });
    closeSync(fd);
    expect(await child.ended).toEqual({ code: 0, signal: null });
    return readFileSync(path, 'utf8');
  };

  it('tells the exit code and the signal', async () => {
    const seven = spawn({ path: '/bin/sh', args: ['-c', 'exit 7'] });
    expect(await seven.ended).toEqual({ code: 7, signal: null });
    expect(seven.ending?.code).toBe(7);
    expect(seven.kill('SIGKILL')).toBe(false);
    const killed = spawn({ path: '/bin/sleep', args: ['60'] });
    expect(killed.kill('SIGTERM')).toBe(true);
    expect(await killed.ended).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('says that a program is missing', () => {
    expect(() => spawn({ path: '/no/such', args: [] })).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  it('refuses a word with a NUL in it', () => {
    expect(() => spawn({ path: '/bin/true', args: ['a\0b'] })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('gives default signals, an empty mask, a session of its own and the limits a program expects', async () => {
    const before = process.umask(0o077);
    try {
      const text = await say([
        '-c',
        'cat /proc/self/status /proc/self/limits; cut -d" " -f 6 /proc/$$/stat; echo pid $$; cat /proc/self/oom_score_adj; pwd; umask; nice',
      ]);
      expect(text).toMatch(/SigIgn:\s+0+\n/);
      expect(text).toMatch(/SigBlk:\s+0+\n/);
      expect(text).toMatch(/Max open files\s+1024\s/);
      const [, session, pid] = /\n(\d+)\npid (\d+)\n/.exec(text)!;
      expect(session).toBe(pid);
      expect(text).toMatch(/\n0\n\/\n0022\n0\n$/);
    } finally {
      expect(process.umask(before)).toBe(0o077);
    }
  });

  it('gives those limits before the program runs, however many files are open', async () => {
    const limits = (): string => readFileSync('/proc/self/limits', 'latin1').match(/Max open files.*/)![0];
    const before = limits();
    // Two forks away at once: what is set on the running child would come too late for some of them.
    const script = 'for i in 1 2 3 4 5; do (cat /proc/self/limits | grep open.files &) ; done; sleep 0.1';
    const many: number[] = [];
    try {
      for (const wanted of [0, 1500]) {
        while (many.length < wanted) many.push(openSync('/dev/null', 'r'));
        const text = await say(['-c', script]);
        expect(text.match(/Max open files\s+1024\s/g)).toHaveLength(5);
        expect(limits()).toBe(before);
      }
    } finally {
      for (const fd of many) closeSync(fd);
    }
  });

  it('keeps our own priority and standing with the OOM killer to ourselves', async () => {
    const file = '/proc/self/oom_score_adj';
    const before = readFileSync(file, 'latin1');
    writeFileSync(file, '300');
    setPriority(-5);
    try {
      expect(await say(['-c', 'cat /proc/self/oom_score_adj; nice'])).toBe('0\n0\n');
      expect(readFileSync(file, 'latin1').trim()).toBe('300');
      expect(getPriority()).toBe(-5);
    } finally {
      setPriority(0);
      writeFileSync(file, before.trim());
    }
  });

  it('passes exactly the descriptors that were named', async () => {
    const extra = openSync('/etc/hostname', 'r');
    try {
      const text = await say(['-c', 'ls /proc/$$/fd; readlink /proc/$$/fd/5'], { fds: { 5: extra } });
      expect(text.trim().split('\n')).toEqual(['0', '1', '2', '5', '/etc/hostname']);
    } finally {
      closeSync(extra);
    }
  });

  it('sorts out descriptors whose numbers cross', async () => {
    const first = openSync('/etc/hostname', 'r');
    const second = openSync('/etc/passwd', 'r');
    try {
      const text = await say(['-c', `readlink /proc/$$/fd/${first} /proc/$$/fd/${second}`], { fds: { [first]: second, [second]: first } });
      expect(text).toBe('/etc/passwd\n/etc/hostname\n');
    } finally {
      closeSync(first);
      closeSync(second);
    }
  });

  it('gives only the environment that was named', async () => {
    expect(await say(['-c', 'env'], { env: { ONLY: 'this' } })).toMatch(
      /^(ONLY=this|PWD=\/|SHLVL=\d+|_=.*)(\n(ONLY=this|PWD=\/|SHLVL=\d+|_=.*))*\n$/,
    );
  });

  it('works beside the children of Node', async () => {
    const theirs = nodeSpawn('/bin/sh', ['-c', 'sleep 0.05; exit 3']);
    const ours = Array.from({ length: 20 }, (_, i) => spawn({ path: '/bin/sh', args: ['-c', `exit ${i}`] }));
    const codes = await Promise.all(ours.map(async (child) => (await child.ended).code));
    expect(codes).toEqual(Array.from({ length: 20 }, (_, i) => i));
    const [code] = theirs.exitCode === null ? await once(theirs, 'exit') : [theirs.exitCode];
    expect(code).toBe(3);
  });
});
