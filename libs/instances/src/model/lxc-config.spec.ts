import { describe, expect, it } from 'vitest';
import { lxcConfig, lxcConfigText, type LxcHost, type LxcOwner } from './lxc-config.js';

const host: LxcHost = {
  cgroupVersion: 1,
  apparmor: false,
  mounts: [
    { path: '/dev/fuse', directory: false },
    { path: '/dev/mqueue', directory: true },
  ],
};
const owner: LxcOwner = {
  name: 'c1',
  architecture: 'x86_64',
  config: {},
  idmapLines: ['u 0 1000000 65536', 'g 0 1000000 65536'],
  limits: [['lxc.cgroup.pids.max', '10']],
  rootfs: '/srv/c1/rootfs',
  rootfsIdmapped: true,
  log: '/log/lxc.log',
  consoleLog: '/log/console.log',
  hook: '/state/a b/hook',
  devices: [['lxc.net.0.type', 'phys']],
};
const lines = (more: Partial<LxcOwner> = {}, on: Partial<LxcHost> = {}): string[] =>
  lxcConfigText(lxcConfig({ ...owner, ...more }, { ...host, ...on }))
    .trim()
    .split('\n');

describe('lxcConfig', () => {
  it('maps ids of an unprivileged container at its mount, and leaves devices to the kernel', () => {
    expect(lines()).toEqual(
      expect.arrayContaining([
        'lxc.rootfs.options = idmap=container',
        'lxc.idmap = u 0 1000000 65536',
        'lxc.mount.auto = proc:rw sys:rw cgroup:mixed',
      ]),
    );
    expect(lines().join('\n')).not.toMatch(/devices|cap\.drop/);
    expect(lines()).toContain('lxc.mount.entry = /dev/mqueue dev/mqueue none rbind,create=dir,optional 0 0');
  });
  it('keeps a privileged one from the devices of the host', () => {
    const privileged = lines({ idmapLines: [] });
    expect(privileged).toEqual(
      expect.arrayContaining(['lxc.cgroup.devices.deny = a', 'lxc.cap.drop = sys_time sys_module sys_rawio mac_admin mac_override']),
    );
    expect(privileged.join('\n')).not.toContain('idmap');
    expect(lines({ idmapLines: [] }, { cgroupVersion: 2 })).toContain('lxc.cgroup2.devices.deny = a');
  });
  it('puts limits, environment, devices and raw.lxc in, the last word to raw.lxc', () => {
    const all = lines({
      config: { 'environment.A': 'b c', 'limits.kernel.nofile': '50', 'linux.sysctl.net.x': '1', 'raw.lxc': '# x\nlxc.signal.halt=SIGUSR1' },
    });
    expect(all).toEqual(
      expect.arrayContaining([
        'lxc.environment = A=b c',
        'lxc.prlimit.nofile = 50',
        'lxc.sysctl.net.x = 1',
        'lxc.cgroup.pids.max = 10',
        'lxc.net.0.type = phys',
      ]),
    );
    expect(all.at(-1)).toBe('lxc.signal.halt = SIGUSR1');
    expect(all).toContain('lxc.hook.post-stop = /state/a\\ b/hook');
  });
  it('refuses values that would become lines of their own', () => {
    expect(() => lines({ config: { 'environment.A': 'b\nlxc.idmap = u 0 0 1' } })).toThrow('may not hold a line break');
    expect(() => lines({ config: { 'limits.kernel.nofile': '1\r' } })).toThrow('line break');
  });
});
