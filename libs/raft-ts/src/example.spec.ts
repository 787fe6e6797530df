import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { example } from './example.js';

it('agrees on one entry, as the README says', () => {
  expect(example()).toEqual([['hello'], ['hello'], ['hello']]);
});

it('stands in the README as it is', () => {
  const code = readFileSync(new URL('example.ts', import.meta.url), 'utf8').replace("'./index.js'", "'#raft-ts'");
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${code}\`\`\``);
});
