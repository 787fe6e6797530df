import { describe, expect, it } from 'vitest';
import { parseBitRate, parseSize } from '#kit';

describe('parseSize', () => {
  it('knows decimal and binary suffixes', () => {
    expect(parseSize('10GiB')).toBe(10 * 2 ** 30);
    expect(parseSize('5GB')).toBe(5e9);
    expect(parseSize('12')).toBe(12);
    expect(parseSize('')).toBe(0);
  });
  it('refuses what is not a size', () => {
    for (const bad of ['x', '1X', '-1', '1.5GB', 'GB', '99999999999999EiB']) expect(() => parseSize(bad)).toThrow();
  });
});

it('parseBitRate knows Mbit', () => expect(parseBitRate('10Mbit')).toBe(1e7));
