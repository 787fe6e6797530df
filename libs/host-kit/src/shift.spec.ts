import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { baseIdmap } from './idmap.js';
import { bindMount, detach } from './mounts.js';
import { mountsBelow } from './mountinfo.js';
import { shiftRules, shiftTree } from './shift.js';

describe('shiftRules', () => {
  it('joins two maps into one', () => {
    expect(shiftRules([], baseIdmap(1000, 10))).toEqual(['u:0:9:1000', 'g:0:9:1000']);
    expect(shiftRules(baseIdmap(1000, 10), [])).toEqual(['u:1000:1009:-1000', 'g:1000:1009:-1000']);
    expect(shiftRules(baseIdmap(1000, 10), baseIdmap(2000, 5))).toEqual(['u:1000:1004:1000', 'g:1000:1004:1000']);
  });
});

describe('shiftTree', () => {
  let folder: string;
  const at = (...names: string[]): string => join(folder, 'tree', ...names);
  const owner = (path: string): string => `${lstatSync(path).uid}:${lstatSync(path).gid}`;
  const map = baseIdmap(100_000, 65_536);
  const other = baseIdmap(300_000, 65_536);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-kit-shift-'));
    mkdirSync(at('sub'), { recursive: true });
    for (const name of ['file', 'sub/suid', 'sub/with caps', 'acl']) writeFileSync(at(name), '');
    chownSync(at('file'), 33, 44);
    chmodSync(at('sub/suid'), 0o4755);
    linkSync(at('file'), at('sub/same'));
    symlinkSync('/etc/passwd', at('link'));
    chownSync(at('acl'), 70_000, 0);
  });
  afterEach(() => {
    for (const mount of mountsBelow(folder)) detach(mount.target);
    rmSync(folder, { recursive: true });
  });

  it('moves owners there, over to another map, and back', async () => {
    expect(await shiftTree(at(), [], map)).toEqual({ changed: 7, seen: 8 });
    expect(owner(at('file'))).toBe('100033:100044');
    expect(owner(at('sub/same'))).toBe('100033:100044');
    expect(owner(at('link'))).toBe('100000:100000');
    expect(owner('/etc/passwd')).toBe('0:0');
    expect(owner(at('acl'))).toBe('70000:100000');
    expect(lstatSync(at('sub/suid')).mode & 0o7777).toBe(0o4755);
    await shiftTree(at(), map, other);
    expect(owner(at('file'))).toBe('300033:300044');
    await shiftTree(at(), other, []);
    expect(owner(at('file'))).toBe('33:44');
    expect(owner(at('acl'))).toBe('70000:0');
  });

  it('finishes what was left half done', async () => {
    await shiftTree(at(), [], map);
    chownSync(at('sub'), 300_000, 300_000);
    await shiftTree(at(), map, other);
    expect(owner(at('sub'))).toBe('300000:300000');
    expect(owner(at('sub/suid'))).toBe('300000:300000');
  });

  it('shifts file capabilities and ACLs', async () => {
    execFileSync('setcap', ['cap_net_raw+ep', at('sub/with caps')]);
    execFileSync('setfacl', ['-m', 'u:33:r,g:44:rw', at('acl')]);
    execFileSync('setfacl', ['-d', '-m', 'u:33:rx', at('sub')]);
    await shiftTree(at(), [], map);
    const caps = (): string => String(execFileSync('getcap', ['-n', at('sub/with caps')])).trim();
    const acl = (name: string): string => String(execFileSync('getfacl', ['-cnp', at(name)]));
    expect(caps()).toMatch(/cap_net_raw=ep \[rootid=100000\]$/);
    expect(acl('acl')).toMatch(/user:100033:r--\n[^]*group:100044:rw-\n/);
    expect(acl('sub')).toMatch(/default:user:100033:r-x\n/);
    await shiftTree(at(), map, []);
    expect(caps()).toMatch(/cap_net_raw=ep$/);
    expect(acl('acl')).toMatch(/user:33:r--/);
  });

  it('leaves what is mounted in the tree alone, and tells a failure', async () => {
    mkdirSync(join(folder, 'elsewhere'));
    mkdirSync(at('mnt'));
    bindMount(join(folder, 'elsewhere'), at('mnt'));
    await shiftTree(at(), [], map);
    expect(owner(join(folder, 'elsewhere'))).toBe('0:0');
    await expect(shiftTree(at('none'), [], map)).rejects.toMatchObject({ kind: 'internal', detail: expect.stringContaining('No such file') });
  });

  it('is quick', async () => {
    for (let i = 0; i < 2000; i++) writeFileSync(at(`sub/${i}`), '');
    const started = performance.now();
    await shiftTree(at(), [], map);
    const ms = performance.now() - started;
    if (process.env['VERBOSE']) console.log('shift', (ms / 2.007).toFixed(1), 'µs a file');
    expect(ms).toBeLessThan(5000);
  });
});
