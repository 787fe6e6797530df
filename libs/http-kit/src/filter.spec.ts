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
  it('takes any operator but ne for eq, and a bad pattern literally', () => {
    expect(parseFilter('name zz c1')(c1)).toBe(true);
    expect(parseFilter('name eq (c1')({ name: '(c1' })).toBe(true);
    expect(parseFilter('name eq [A-C]\\d')(c1)).toBe(true);
    expect(parseFilter('name eq c\\D')(c1)).toBe(false);
    expect(parseFilter('')(c1)).toBe(true);
    expect(parseFilter('name eq c1 and status eq stopped')(c1)).toBe(false);
  });
  it('reads a missing key of a map as empty, and a missing field as nothing', () => {
    expect(parseFilter('config.user.y eq ^$')(c1)).toBe(true);
    expect(parseFilter('nope eq .*')(c1)).toBe(false);
    expect(parseFilter('nope ne x')(c1)).toBe(true);
    expect(parseFilter('constructor ne x')(c1)).toBe(true);
  });
  it('cannot be made to keep the server busy', () => {
    const began = performance.now();
    for (const pattern of ['(a+)+', '(a*)*b', '(a|a)*(b|b)*c', '(a+)+$', 'a*a*a*a*a*a*a*a*b', '((a{1,30}){1,30}){1,30}'])
      parseFilter(`name eq ${pattern}`)({ name: 'a'.repeat(4_000) });
    expect(performance.now() - began).toBeLessThan(500);
  });
});
