import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { StatementCache } from './statements.js';

it('keeps two hundred statements, the ones used last', () => {
  const cache = new StatementCache(new DatabaseSync(':memory:'));
  const first = cache.prepare('SELECT 0');
  for (let n = 1; n < 200; n += 1) cache.prepare(`SELECT ${n}`);
  expect(cache.prepare('SELECT 0')).toBe(first);
  const second = cache.prepare('SELECT 1');
  for (let n = 200; n < 400; n += 1) cache.prepare(`SELECT ${n}`);
  expect(cache.size).toBe(200);
  expect(cache.prepare('SELECT 1')).not.toBe(second);
});
