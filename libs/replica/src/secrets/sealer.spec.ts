import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { installClusterKey, isSealed, openSealer } from './sealer.js';

describe('the sealer', () => {
  let directory: string;
  beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'muster-seal-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  it('opens what it sealed, also after a restart, and never seals alike twice', () => {
    const sealed = openSealer(directory).seal('geheim', 'tokens/1');
    expect(isSealed(sealed)).toBe(true);
    expect(sealed).not.toContain('geheim');
    expect(openSealer(directory).open(sealed, 'tokens/1')).toBe('geheim');
    expect(openSealer(directory).seal('geheim', 'tokens/1')).not.toBe(sealed);
    expect(statSync(join(directory, 'secrets.key')).mode & 0o777).toBe(0o600);
  });

  it('opens nothing that was moved, changed, or sealed under another key', () => {
    const sealer = openSealer(directory);
    const sealed = sealer.seal('geheim', 'tokens/1');
    expect(() => sealer.open(sealed, 'tokens/2')).toThrow('A stored secret cannot be read');
    for (let n = 'sealed:1:'.length; n < sealed.length - 2; n += 1) {
      const other = sealed[n] === 'A' ? 'B' : 'A';
      expect(() => sealer.open(sealed.slice(0, n) + other + sealed.slice(n + 1), 'tokens/1')).toThrow('A stored secret cannot be read');
    }
    installClusterKey(directory, new Uint8Array(32).fill(7));
    expect(() => openSealer(directory).open(sealed, 'tokens/1')).toThrow('A stored secret cannot be read');
    expect(() => sealer.open('plain', 'tokens/1')).toThrow('A stored secret cannot be read');
  });

  it('refuses a key that others can read, that is cut short, or that is missing where it may not be made', () => {
    expect(() => openSealer(directory, { make: false })).toThrow('missing');
    openSealer(directory);
    chmodSync(join(directory, 'secrets.key'), 0o644);
    expect(() => openSealer(directory)).toThrow('read by others');
    chmodSync(join(directory, 'secrets.key'), 0o600);
    writeFileSync(join(directory, 'secrets.key'), new Uint8Array(31));
    expect(() => openSealer(directory)).toThrow('damaged');
  });
});
