import { describe, expect, it } from 'vitest';
import { checkSchedule, checkVolumeConfig, expiryOf, nameOnDisk, snapshotName, withPoolDefaults } from './index.js';

describe('names', () => {
  it('on disk bear the project: always for custom volumes, outside default for instances, never for images', () => {
    const on = (type: 'custom' | 'container' | 'image', project: string): string => nameOnDisk({ type, project, name: 'x' });
    expect([on('custom', 'default'), on('custom', 'p'), on('container', 'default'), on('container', 'p'), on('image', 'default')]).toEqual([
      'default_x',
      'p_x',
      'x',
      'p_x',
      'x',
    ]);
  });

  it('of snapshots follow the pattern: numbers go on, dates are those of Go, what is taken gets a number', () => {
    const now = new Date('2026-11-25T07:08:09Z');
    expect(snapshotName('', now, ['snap0', 'snap10', 'snapx', 'other'])).toBe('snap11');
    expect(snapshotName("daily-{{ creation_date|date:'2006-01-02_15-04-05' }}", now, [])).toBe('daily-2026-11-25_07-08-09');
    expect(snapshotName('fixed', now, ['fixed'])).toBe('fixed-0');
    expect(snapshotName('v%d-x', now, ['v3-x', 'v9-y'])).toBe('v4-x');
    for (const bad of ['%d%d', '{{ secret }}', 'a/b', 'a b']) expect(() => snapshotName(bad, now, [])).toThrow();
  });
});

describe('expiry', () => {
  const at = new Date('2026-01-31T00:00:00Z');
  it('counts from the creation, each unit once', () => {
    expect(expiryOf('', at)).toBeUndefined();
    expect(expiryOf('1M 2H', at)?.toISOString()).toBe('2026-01-31T02:01:00.000Z');
    expect(expiryOf('1w', at)?.toISOString()).toBe('2026-02-07T00:00:00.000Z');
    for (const bad of ['1', 'd', '1d 2d', '1x', '-1d', '1d2H']) expect(() => expiryOf(bad, at), bad).toThrow('Invalid expiry');
  });
});

describe('config', () => {
  it('takes cron and its nicknames as schedules', () => {
    for (const good of ['@daily', '@hourly, @weekly', '0 6 * * *', '*/5 1-3 * * 0']) checkSchedule(good);
    for (const bad of ['daily', '* * * *', '@sometimes', '* * * * * *']) expect(() => checkSchedule(bad), bad).toThrow();
  });

  it("of a new volume is its own, then the pool's; size only for custom ones", () => {
    const pool = { 'volume.size': '1GiB', 'volume.security.shifted': 'true', 'volume.user.x': 'y', source: '/x' };
    expect(withPoolDefaults({ size: '2GiB' }, pool, 'custom', 'filesystem')).toEqual({ size: '2GiB', 'security.shifted': 'true', 'user.x': 'y' });
    expect(withPoolDefaults({}, pool, 'container', 'filesystem')).toEqual({ 'user.x': 'y' });
  });

  it('is refused where it makes no sense', () => {
    const check =
      (config: Record<string, string>, type: 'custom' | 'container' = 'custom') =>
      () =>
        checkVolumeConfig('dir', config, type, 'filesystem');
    expect(check({ 'security.shifted': 'true', 'security.unmapped': 'true' })).toThrow('mutually exclusive');
    expect(check({ 'security.shifted': 'true' }, 'container')).toThrow('Invalid option');
    expect(check({ size: '10 parsecs' })).toThrow('Invalid value for option "size"');
    expect(check({ size: '10GiB', 'user.anything': 'x' })).not.toThrow();
  });
});
