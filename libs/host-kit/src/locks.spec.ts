import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootId, FileLock } from './locks.js';
import { run } from './run.js';

describe('FileLock', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-kit-lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('has one owner, and is free again afterwards', async () => {
    const path = join(folder, 'lock');
    const lock = FileLock.take(path);
    expect(() => FileLock.take(path)).toThrow(expect.objectContaining({ kind: 'conflict' }));
    expect((await run('flock', ['-n', path, 'true'])).code).toBe(1);
    lock[Symbol.dispose]();
    expect((await run('flock', ['-n', path, 'true'])).code).toBe(0);
    FileLock.take(path)[Symbol.dispose]();
  });

  it('is not handed to children', async () => {
    const lock = FileLock.take(join(folder, 'lock'));
    const child = run('sleep', ['0.3']);
    lock[Symbol.dispose]();
    FileLock.take(join(folder, 'lock'))[Symbol.dispose]();
    await child;
  });
});

it('knows the boot', () => {
  expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
});
