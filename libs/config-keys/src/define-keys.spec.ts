import { describe, expect, it } from 'vitest';
import { defineKeys, isTrue } from '#config-keys';

const doc = { short: '' };
const keys = defineKeys('thing', {
  'boot.autostart': { type: 'bool', since: 'core', doc },
  'limits.cpu': { type: 'integer', since: 'core', default: '1', doc },
  'volatile.*.hwaddr': { type: 'string', since: 'core', doc },
  'user.*': { type: 'string', since: 'core', doc },
});

describe('defineKeys', () => {
  it('refuses unknown keys and bad values with the words that LXD uses', () => {
    expect(() => keys.validate({ 'nope.key': '1' })).toThrow('Unknown configuration key: nope.key');
    expect(() => keys.validate({ 'boot.autostart': 'maybe' })).toThrow('Invalid value for a boolean "maybe"');
    expect(() => keys.validate({ 'limits.cpu': 'x' })).toThrow('integer');
  });
  it('matches a star to one word and a trailing star to any tail', () => {
    keys.validate({ 'volatile.eth0.hwaddr': 'x', 'user.a.b.c': 'y' });
    expect(() => keys.validate({ 'volatile.a.b.hwaddr': 'x' })).toThrow('Unknown');
    expect(() => keys.validate({ user: 'x' })).toThrow('Unknown');
  });
  it('falls back to the default and lists changes', () => {
    expect(keys.effective({}, 'limits.cpu')).toBe('1');
    expect(keys.changes({ 'limits.cpu': '1' }, { 'user.x': 'y' }).map((c) => c.key)).toEqual(['limits.cpu', 'user.x']);
  });
});

it('isTrue reads every spelling', () => {
  expect([isTrue('On'), isTrue('1'), isTrue('no'), isTrue(undefined, true)]).toEqual([true, true, false, true]);
});
