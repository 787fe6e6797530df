import { describe, expect, it } from 'vitest';
import { parseCompression } from './index.js';

describe('compression', () => {
  it('is a compressor and its options', () => {
    expect(parseCompression('gzip')).toEqual({ program: 'gzip', args: ['-c', '-n'] });
    expect(parseCompression('zstd -19 --long=27')).toEqual({ program: 'zstd', args: ['-c', '-19', '--long=27'] });
    expect(parseCompression('gzip --rsyncable')).toEqual({ program: 'gzip', args: ['-c', '--rsyncable', '-n'] });
    expect(parseCompression('none')).toEqual({ args: [] });
    expect(parseCompression('squashfs').intoFile).toBe(true);
  });

  it('is nothing else', () => {
    for (const value of [
      '',
      'sh',
      'sh -c true',
      'gzip -d',
      'gzip; id',
      'xz --files=/etc/shadow',
      'zstd -o/etc/x',
      'gzip /etc/shadow',
      '/bin/gzip',
      'none x',
    ])
      expect(() => parseCompression(value)).toThrow('Invalid compression algorithm');
  });
});
