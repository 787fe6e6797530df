import { execFileSync } from 'node:child_process';
import { chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { baseIdmap } from '#host-kit';
import { unshifted } from './unshifted.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp('/var/tmp/muster-unshifted-');
  await mkdir(join(dir, 'tree'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('a tree whose owners are those of the host', () => {
  it('shows those of the container, capabilities and ACLs too, and cannot be written', async () => {
    const file = join(dir, 'tree/f');
    await writeFile(file, 'x');
    await chown(join(dir, 'tree'), 1_000_000, 1_000_000);
    await chown(file, 1_001_000, 1_000_100);
    execFileSync('setfacl', ['-m', 'u:1001234:r', file]);
    const at = join(dir, 'view');
    {
      await using view = await unshifted(join(dir, 'tree'), baseIdmap(1_000_000, 65_536), at);
      expect(view.path).toBe(at);
      const [top, inner] = [await stat(at), await stat(join(at, 'f'))];
      expect([top.uid, top.gid, inner.uid, inner.gid]).toEqual([0, 0, 1000, 100]);
      expect(execFileSync('getfacl', ['-n', '--absolute-names', join(at, 'f')]).toString()).toContain('user:1234:r--');
      await expect(writeFile(join(at, 'g'), 'x')).rejects.toThrow('EROFS');
    }
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
  });

  it('is shown as it is without a map', async () => {
    await using view = await unshifted(join(dir, 'tree'), [], join(dir, 'view'));
    expect(view.path).toBe(join(dir, 'tree'));
  });
});
