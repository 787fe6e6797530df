import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Scenario } from './testing/scenario.js';

const folder = new URL('../scenarios/', import.meta.url);

describe('scenarios', () => {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt'))) {
    it(file.slice(0, -'.txt'.length).replaceAll('-', ' '), () => {
      const url = new URL(file, folder);
      const text = readFileSync(url, 'utf8');
      const played = new Scenario().play(text);
      if (process.env['RAFT_SCENARIOS'] === 'write') writeFileSync(url, played);
      else expect(played).toBe(text);
    });
  }
});
