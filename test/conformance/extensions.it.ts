import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { advertisedExtensions, apiExtensions } from '#api-contract';

/** The 220 of the specification, and the names under which the genuine clients know five of them. */
const specified = Object.values(apiExtensions).filter(({ spec }) => spec !== undefined);

describe('API extensions', () => {
  it('declare all 220 of the specification', () => {
    expect(specified).toHaveLength(220);
  });

  it('are advertised only with a conformance case beside them', () => {
    const covered = new Set<string>();
    for (const name of readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.it.ts')) continue;
      const text = readFileSync(`${import.meta.dirname}/${name}`, 'utf8');
      for (const call of text.matchAll(/covers\(([^)]*)\)/gs)) for (const word of call[1]!.matchAll(/'([^']+)'/g)) covered.add(word[1]!);
    }
    const advertised = advertisedExtensions();
    expect([...covered].filter((name) => !(name in apiExtensions))).toEqual([]);
    expect(advertised.filter((name) => apiExtensions[name] && !covered.has(name))).toEqual([]);
  });
});
