import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseIdmap, Cgroup, detectCgroups, runOk } from '#host-kit';
import { Rig } from '../testing/rig.js';
import { awaitedUnixNode, findUnixNode, UnixDriver } from './unix.driver.js';

/** Real device nodes in real containers. Needs root and lxc. */
const rig = new Rig();
const idmap = baseIdmap(100_000, 65_536);
let unix: UnixDriver;

beforeAll(async () => {
  await rig.open({}, false);
  unix = new UnixDriver(rig.context, findUnixNode, awaitedUnixNode);
});
afterAll(() => rig.close());

const zeros = (name: string, path: string): Promise<string> => rig.inside(name, 'sh', '-c', `head -c 4 ${path} | wc -c`);

describe('a unix-char device', () => {
  // /dev/zero by another name: c 1:5 is not among what the rig's containers may use.
  const device = { type: 'unix-char', source: '/dev/zero', path: '/dev/my/zero', mode: '0600', uid: '5' };

  it('is there from the start, with owner and mode', async () => {
    const owner = rig.owner(1, 'u1', { z: device }, { idmap });
    await rig.start('u1', [await unix.prepare(owner, 'z', device)], idmap);
    expect(readdirSync(owner.devicesDir)).toEqual(['unix.z.dev-my-zero']);
    expect(await rig.inside('u1', 'stat', '-c', '%F %a %u %t:%T', '/dev/my/zero')).toBe('character special file 600 5 1:5');
    expect(await zeros('u1', '/dev/my/zero')).toBe('4');
    await rig.stop('u1');
    await unix.detach({ ...owner, pid: undefined }, 'z');
    expect(readdirSync(owner.devicesDir)).toEqual([]);
  });

  it('comes into a running container and goes again, the right to use it included', async () => {
    const pid = await rig.start('u2', [], idmap);
    const owner = rig.owner(2, 'u2', { z: device }, { idmap, pid });
    await unix.attach(owner, 'z', device);
    expect(await zeros('u2', '/dev/my/zero')).toBe('4');
    const second = { ...device, path: '/dev/other' };
    await unix.attach(owner, 'y', second);
    await unix.detach(owner, 'z');
    expect(await rig.inside('u2', 'ls', '/dev/my')).toBe('');
    // The other device still needs the right.
    expect(await zeros('u2', '/dev/other')).toBe('4');
    await unix.detach(owner, 'y');
    await unix.detach(owner, 'y');
    await unix.attach(owner, 'x', { ...device, path: '/dev/x' });
    // A second one at the same place: the first stays, before and after.
    await unix.attach(owner, 'w', { ...device, path: '/dev/x', major: '1', minor: '3' });
    expect(await rig.inside('u2', 'stat', '-c', '%t:%T', '/dev/x')).toBe('1:5');
    await unix.detach(owner, 'w');
    expect(await rig.inside('u2', 'stat', '-c', '%t:%T', '/dev/x')).toBe('1:5');
    // The right to use it goes with the last that gives it.
    const kmsg = { type: 'unix-char', source: '/dev/kmsg', path: '/dev/log1' };
    const allowed = (): boolean => {
      const layout = detectCgroups();
      return new Cgroup(layout, `lxc.payload.${rig.context.naming.lxc('default', 'u2')}`).read('devices', 'devices.list')!.includes('c 1:11 rwm');
    };
    await unix.attach(owner, 'k', kmsg);
    await unix.attach(owner, 'l', { ...kmsg, path: '/dev/log2' });
    await unix.detach(owner, 'k');
    expect(allowed()).toBe(true);
    await unix.detach(owner, 'l');
    expect(allowed()).toBe(false);
    await rig.stop('u2');
    await unix.detach({ ...owner, pid: undefined }, 'x');
    expect(readdirSync(owner.devicesDir)).toEqual([]);
  });

  it('refuses a path that is not there or no such device, unless told numbers', () => {
    expect(() => findUnixNode({ type: 'unix-char', path: '/dev/nope' })).toThrow("The required device path doesn't exist");
    expect(() => findUnixNode({ type: 'unix-block', path: '/dev/zero' })).toThrow('Path specified is not a unix-block device');
    expect(() => findUnixNode({ type: 'unix-char', path: '/etc/passwd' })).toThrow('Not a device');
    expect(findUnixNode({ type: 'unix-char', path: '/dev/nope', required: 'false' })).toEqual([]);
    expect(findUnixNode({ type: 'unix-char', path: '/dev/nope', major: '1', minor: '3' })[0]!.node).toEqual({ type: 'char', major: 1, minor: 3 });
  });

  it('follows a node that comes and goes', async () => {
    const folder = join('/dev', `mt${rig.hash}`);
    const node = join(folder, 'node');
    const optional = { type: 'unix-char', source: node, required: 'false' };
    const owner = rig.owner(3, 'u3', { z: optional }, { idmap });
    const pid = await rig.start('u3', [await unix.prepare(owner, 'z', optional)], idmap);
    try {
      expect(await rig.inside('u3', 'stat', node)).toContain("can't stat");
      mkdirSync(folder);
      await runOk('mknod', [node, 'c', '1', '5']);
      await expect.poll(() => rig.inside('u3', 'stat', '-c', '%F', node), { timeout: 5000 }).toBe('character special file');
      rmSync(node);
      await expect.poll(() => existsSync(join(owner.devicesDir, `unix.z.dev-mt${rig.hash}-node`)), { timeout: 5000 }).toBe(false);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    await unix.detach({ ...owner, pid }, 'z');
    await rig.stop('u3');
  });
});
