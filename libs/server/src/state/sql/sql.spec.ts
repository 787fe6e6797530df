import { describe, expect, it } from 'vitest';
import { openLocalStore } from '#replica';
import { runSelect, statementsOf, withViews } from './index.js';

describe('withViews', () => {
  const views = { nodes: 'SELECT 1 AS id', config: 'SELECT key FROM main.server_config' };

  it('adds only what is named, also before own expressions', () => {
    expect(withViews('SELECT * FROM other', views)).toBe('SELECT * FROM other');
    expect(withViews('SELECT * FROM nodes', views)).toBe('WITH nodes AS (SELECT 1 AS id) SELECT * FROM nodes');
    expect(withViews('WITH a AS (SELECT 1) SELECT * FROM a, nodes', views)).toBe(
      'WITH nodes AS (SELECT 1 AS id), a AS (SELECT 1) SELECT * FROM a, nodes',
    );
  });
});

describe('statementsOf', () => {
  it('does not cut inside quotes', () => {
    expect(statementsOf(`SELECT ';' ; DELETE FROM "a;b" ;;`)).toEqual([`SELECT ';'`, 'DELETE FROM "a;b"']);
  });
});

describe('runSelect', () => {
  it('takes words in double quotes that are no columns for strings, as LXD does', () => {
    const reader = openLocalStore(':memory:');
    expect(runSelect(reader, `SELECT 1 AS "a b" WHERE 'it''s' = "it's" AND "x" <> "y"`, {})).toMatchObject({ columns: ['a b'], rows: [[1]] });
    expect(() => runSelect(reader, 'SELECT nope', {})).toThrow('no such column: nope');
    reader.close();
  });
});
