import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Cgroup } from './cgroup.js';
import { detectCgroups } from './cgroup-layout.js';
import { RootDir } from './in-root.js';
import { detach } from './mounts.js';
import { mountsBelow } from './mountinfo.js';
import { findProgram } from './programs.js';
import { run, runOk } from './run.js';

const missing = !findProgram('lxc-start') || !findProgram('busybox');

describe.skipIf(missing)('a container that spawn started', () => {
  it('inherits nothing of ours, is nobody’s child and is seen in its cgroup', async () => {
    const folder = mkdtempSync('/var/tmp/host-kit-container-');
    const name = `hk${createHash('sha256').update(folder).digest('hex').slice(0, 8)}`;
    const root = join(folder, 'rootfs');
    for (const path of ['bin', 'proc', 'sys', 'dev', 'tmp']) mkdirSync(join(root, path), { recursive: true });
    copyFileSync(findProgram('busybox')!, join(root, 'bin/busybox'));
    // Read by a child of the shell: the shell itself ignores SIGQUIT as every shell does.
    const script =
      '#!/bin/busybox sh\nfor f in status limits oom_score_adj; do /bin/busybox cat /proc/self/$f; done >/tmp/seen\n/bin/busybox ls -l /proc/1/fd >/tmp/fds\n/bin/busybox touch /tmp/done\nexec /bin/busybox sleep 60\n';
    writeFileSync(join(root, 'init'), script);
    chmodSync(join(root, 'init'), 0o755);
    const config = join(folder, 'config');
    writeFileSync(
      config,
      `lxc.uts.name = ${name}\nlxc.rootfs.path = dir:${root}\nlxc.init.cmd = /init\nlxc.mount.auto = proc:mixed sys:ro\nlxc.net.0.type = empty\n`,
    );
    const lxc = (program: string, ...args: string[]): Promise<Buffer> => runOk(program, ['-P', folder, '-n', name, ...args]);
    try {
      const started = performance.now();
      await lxc('lxc-start', '-f', config, '-d');
      if (process.env['VERBOSE']) console.log(`container started in ${(performance.now() - started).toFixed(0)} ms`);
      const pid = Number(String(await lxc('lxc-info', '-p', '-H')));
      const end = performance.now() + 5000;
      while (!(await run('test', ['-e', join(root, 'tmp/done')]).then(({ code }) => code === 0)) && performance.now() < end);
      const seen = readFileSync(join(root, 'tmp/seen'), 'utf8');
      expect(seen).toMatch(/SigIgn:\s+0+\n/);
      expect(seen).toMatch(/SigBlk:\s+0+\n/);
      expect(seen).toMatch(/Max open files\s+1024\s/);
      expect(seen).toMatch(/\n0\n$/);
      expect(readFileSync(join(root, 'tmp/fds'), 'utf8')).not.toMatch(/socket|pipe|anon_inode/);
      const monitor = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
      expect(readFileSync(`/proc/${monitor}/status`, 'utf8')).toMatch(/^PPid:\s+1$/m);
      const cgroup = new Cgroup(detectCgroups(), `lxc.payload.${name}`);
      expect(cgroup.pids()).toContain(pid);
      expect(cgroup.usage()).toMatchObject({ cpuNs: expect.any(Number), processes: expect.any(Number) });
      using inside = RootDir.open(`/proc/${pid}/root`);
      expect(String(await inside.readFile('tmp/seen', 100_000))).toBe(seen);
      expect(String(await inside.readFile('/proc/1/comm', 100))).toBe('busybox\n');
      expect(inside.stat('/proc/../tmp/../dev/../tmp/done').isFile()).toBe(true);
    } finally {
      await run('lxc-stop', ['-P', folder, '-n', name, '-k']);
      for (const mount of mountsBelow(folder)) detach(mount.target);
      rmSync(folder, { recursive: true });
    }
  });
});
