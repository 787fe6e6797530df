import { describe, expect, it } from 'vitest';
import { addExpiry, checkConfig, checkProfileConfig, copiesKey } from './index.js';

const refused = (config: Record<string, string>): string => {
  try {
    checkConfig(config, 'container');
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};

describe('the config of an instance', () => {
  it('is refused with the words that LXD uses', () => {
    expect(refused({ 'nope.key': '1' })).toBe('Unknown configuration key: nope.key');
    expect(refused({ 'boot.autostart': 'maybe' })).toBe('Invalid value for a boolean "maybe"');
    expect(refused({ 'limits.cpu': '1-3,3' })).toBe('Cannot define CPU multiple times');
    expect(refused({ 'limits.cpu': 'x' })).toBe('Invalid CPU limit syntax');
    expect(refused({ 'limits.memory': '0%' })).toBe("Memory limit can't be 0%");
    expect(refused({ 'limits.cpu.priority': '11' })).toContain('Must be between 0 and 10');
    expect(refused({ 'limits.cpu.allowance': '10ms' })).toBe('Invalid allowance: 10ms');
    expect(refused({ 'snapshots.expiry': '1x' })).toBe('Invalid expiry expression');
    expect(refused({ 'snapshots.schedule': 'every day' })).toContain('Schedule must be of the form');
    expect(refused({ 'raw.lxc': 'lxc.net.0.type = veth' })).toContain('Only interface-specific');
    expect(refused({ 'raw.lxc': 'lxc.prlimit.nofile = 1' })).toContain('limits.kernel.');
    expect(refused({ 'security.syscalls.allow': 'x', 'security.syscalls.deny': 'y' })).toContain('mutually exclusive');
  });

  it('takes everything that LXD takes', () => {
    expect(
      refused({
        'limits.cpu': '0-3,5',
        'limits.memory': '80%',
        'limits.cpu.allowance': '25ms/100ms',
        'limits.kernel.nofile': '3000',
        'snapshots.schedule': '@startup, 10 5,6 * * *',
        'snapshots.expiry': '1M 2H 3d 4w 5m 6y',
        'cloud-init.user-data': '#cloud-config\nhostname: x\n',
        'environment.X': 'y',
        'user.any.thing': 'z',
        'image.os': 'busybox',
        'volatile.eth0.hwaddr': '00:16:3e:00:00:01',
        'volatile.eth0.last_state.created': 'true',
        'linux.sysctl.net.ipv4.ip_forward': '1',
        'boot.autostart': 'On',
        'raw.lxc': '# comment\nlxc.net.0.ipv4.address = 10.0.0.1/24',
      }),
    ).toBe('');
  });

  it('leaves volatile and image keys to instances', () => {
    expect(() => checkProfileConfig({ 'volatile.uuid': 'x' })).toThrow('Volatile keys can only be set on instances');
    expect(() => checkProfileConfig({ 'image.os': 'x' })).toThrow('Image keys can only be set on instances');
  });

  it('says what a copy takes along', () => {
    expect(
      ['user.x', 'volatile.base_image', 'volatile.uuid', 'volatile.last_state.idmap'].map((key) => [copiesKey(key, false), copiesKey(key, true)]),
    ).toEqual([
      [true, true],
      [true, true],
      [false, false],
      [true, false],
    ]);
  });
});

it('addExpiry adds calendar units', () => {
  expect(addExpiry(new Date('2026-01-30T00:00:00Z'), '1H 1d')?.toISOString()).toBe('2026-01-31T01:00:00.000Z');
  expect(addExpiry(new Date(), '')).toBeUndefined();
});
