import { describe, expect, it } from 'vitest';
import { parseFilter } from '#http-kit';

const c1 = { name: 'c1', status: 'Running', ephemeral: true, config: { 'user.x': 'Blue sky' } };

describe('parseFilter', () => {
  it('compares without regard to case, anchored', () => {
    expect(parseFilter('name eq C1')(c1)).toBe(true);
    expect(parseFilter('name eq c')(c1)).toBe(false);
    expect(parseFilter('name eq ^c')(c1)).toBe(true);
    expect(parseFilter('status ne Stopped')(c1)).toBe(true);
  });
  it('reads config keys with dots, quoted values, booleans', () => {
    expect(parseFilter('config.user.x eq "blue sky"')(c1)).toBe(true);
    expect(parseFilter('ephemeral eq true')(c1)).toBe(true);
  });
  it('evaluates strictly from left to right', () => {
    expect(parseFilter('name eq c1 or name eq c2 and name eq c3')(c1)).toBe(false);
    expect(parseFilter('not name eq c2 and status eq running')(c1)).toBe(true);
  });
  it('names what is wrong', () => {
    expect(() => parseFilter('a')).toThrow('Invalid filter: clause has no operator');
    expect(() => parseFilter('a eq')).toThrow('no value');
    expect(() => parseFilter('a eq "b')).toThrow('unterminated quote');
  });
});
