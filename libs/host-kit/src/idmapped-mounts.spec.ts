import { existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { baseIdmap } from './idmap.js';
import { bindIdmapped, supportsIdmappedMounts, UserNamespace } from './idmapped-mounts.js';
import { ejectMount, injectMount } from './inject-mount.js';
import { listMounts, mountsBelow } from './mountinfo.js';
import { detach, mountFilesystem } from './mounts.js';
import { spawn, type SpawnedProcess } from './spawn.js';

let folder: string;
const at = (name: string): string => join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'host-kit-idmapped-'));
  for (const name of ['source', 'target', 'upper', 'work', 'overlay']) mkdirSync(at(name));
  writeFileSync(at('source/file'), '');
});
afterEach(() => {
  for (const mount of mountsBelow(folder)) detach(mount.target);
  rmSync(folder, { recursive: true });
});

describe('idmapped mounts', () => {
  it('show owners mapped, here and on writing', async () => {
    using namespace = await UserNamespace.create(baseIdmap(100_000, 65_536));
    expect(supportsIdmappedMounts(at('source'), namespace)).toBe(true);
    bindIdmapped(at('source'), at('target'), namespace);
    expect(statSync(at('target/file')).uid).toBe(100_000);
    expect(statSync(at('source/file')).uid).toBe(0);
  });

  it('are told apart from file systems that cannot', async () => {
    using namespace = await UserNamespace.create(baseIdmap(100_000, 65_536));
    await mountFilesystem('overlay', at('overlay'), {
      type: 'overlay',
      options: [`lowerdir=${at('source')}`, `upperdir=${at('upper')}`, `workdir=${at('work')}`],
    });
    expect(supportsIdmappedMounts(at('overlay'), namespace)).toBe(false);
    expect(supportsIdmappedMounts('/proc', namespace)).toBe(false);
  });

  it('say that the kernel refuses a map', async () => {
    await expect(UserNamespace.create([{ isUid: true, isGid: true, hostId: 5, nsId: 5, range: 0 }])).rejects.toMatchObject({ kind: 'internal' });
  });
});

describe('injectMount', () => {
  let container: SpawnedProcess;
  beforeEach(async () => {
    container = spawn({ path: '/usr/bin/unshare', args: ['-m', 'sleep', '60'] });
    const ours = readlinkSync('/proc/self/ns/mnt');
    while (readlinkSync(`/proc/${container.pid}/ns/mnt`) === ours) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  afterEach(async () => {
    container.kill('SIGKILL');
    await container.ended;
  });

  it('mounts in another namespace only, and takes it away', async () => {
    await injectMount(container.pid, at('source'), at('target'), { readonly: true });
    expect(existsSync(at('target/file'))).toBe(false);
    expect(existsSync(`/proc/${container.pid}/root${at('target/file')}`)).toBe(true);
    expect(listMounts(container.pid).find((mount) => mount.target === at('target'))?.options).toContain('ro');
    await ejectMount(container.pid, at('target'));
    expect(existsSync(`/proc/${container.pid}/root${at('target/file')}`)).toBe(false);
    await expect(ejectMount(container.pid, at('target'))).rejects.toMatchObject({ kind: 'internal', detail: expect.stringContaining('umount') });
    await expect(injectMount(container.pid, at('none'), at('target'))).rejects.toMatchObject({ detail: expect.stringContaining('open_tree') });
  });
});
