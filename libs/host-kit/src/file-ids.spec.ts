import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withFileIds } from './file-ids.js';
import { baseIdmap } from './idmap.js';
import { bindIdmapped, UserNamespace } from './idmapped-mounts.js';
import { RootDir } from './in-root.js';
import { detach } from './mounts.js';

/** A folder as a container's root is: ids on the disk from 0, seen from 100,000. Needs root. */
describe('files on an idmapped mount', () => {
  const dir = mkdtempSync(join(tmpdir(), 'muster-ids-'));
  const [disk, seen] = [join(dir, 'disk'), join(dir, 'seen')];

  beforeAll(async () => {
    mkdirSync(disk);
    mkdirSync(seen);
    using namespace = await UserNamespace.create(baseIdmap(100_000, 65_536));
    bindIdmapped(disk, seen, namespace);
  });
  afterAll(() => {
    detach(seen);
    rmSync(dir, { recursive: true });
  });

  it('can be made by their owner, or by the folder’s where none is named', () => {
    using root = RootDir.open(seen);
    const owner = { uid: 101_000, gid: 101_001 };
    root.makeDirectories('a/b', 0o700, owner);
    root.makeSymlink('b', 'a/link', owner);
    root.openForWriting('a/file', { owner })[Symbol.dispose]();
    root.openForWriting('a/b/other')[Symbol.dispose]();
    expect(statSync(join(disk, 'a/b'))).toMatchObject({ uid: 1000, gid: 1001, mode: 0o40700 });
    expect(statSync(join(disk, 'a/file'))).toMatchObject({ uid: 1000, gid: 1001 });
    expect(statSync(join(disk, 'a/b/other'))).toMatchObject({ uid: 1000, gid: 1001 });
  });

  it('leaves the thread as it was', () => {
    const status = (): string => readFileSync('/proc/thread-self/status', 'latin1').replaceAll(/^(?!Uid|Gid|Cap).*\n/gm, '');
    const before = status();
    expect(() =>
      withFileIds({ uid: 5, gid: 6 }, () => {
        writeFileSync(join(dir, 'mine'), '');
        throw new Error('x');
      }),
    ).toThrow('x');
    expect(statSync(join(dir, 'mine'))).toMatchObject({ uid: 5, gid: 6 });
    expect(status()).toBe(before);
  });
});
