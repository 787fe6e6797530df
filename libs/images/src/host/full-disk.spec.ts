import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mountFilesystem, unmount } from '#host-kit';
import { silent } from '#kit';
import { ImageStore } from './image-store.js';
import { writeBody } from './image-upload.js';
import { unpackImage } from './unpack.js';

describe.skipIf(process.getuid?.() !== 0)('on a full disk', () => {
  const work = mkdtempSync(join(tmpdir(), 'muster-full-'));
  const small = join(work, 'small');
  beforeAll(async () => {
    mkdirSync(small);
    await mountFilesystem('tmpfs', small, { type: 'tmpfs', options: ['size=2m'] });
  });
  afterAll(async () => {
    await unmount(small);
    rmSync(work, { recursive: true, force: true });
  });

  it('an upload is refused with a clear word, its connection lives, and nothing is left', async () => {
    const store = new ImageStore(join(small, 'images'), silent);
    await store.start();
    const body = Readable.from(Array.from({ length: 160 }, () => randomBytes(64 * 1024)));
    {
      await using incoming = store.incoming();
      await expect(writeBody(incoming, body, undefined)).rejects.toMatchObject({
        kind: 'unavailable',
        message: 'No space left for the image',
        status: 500,
      });
    }
    expect(body.destroyed).toBe(false);
    expect(readdirSync(join(small, 'images'))).toEqual([]);
  });

  it('an image that does not fit is refused as such, not as broken', async () => {
    const tree = join(work, 'tree');
    mkdirSync(join(tree, 'rootfs'), { recursive: true });
    writeFileSync(join(tree, 'metadata.yaml'), 'architecture: x86_64\ncreation_date: 1\n');
    writeFileSync(join(tree, 'rootfs/big'), randomBytes(4 * 1024 * 1024));
    const metaPath = join(work, 'big.tar.gz');
    execFileSync('tar', ['-C', tree, '-czf', metaPath, '.']);
    const out = join(small, 'out');
    mkdirSync(out);
    await expect(unpackImage({ metaPath, metaSize: 0 }, out)).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'No space left on the storage pool',
    });
  });

  it('what is cancelled says so, and stops at once', async () => {
    const abort = new AbortController();
    const out = join(work, 'out');
    mkdirSync(out);
    const unpacking = unpackImage({ metaPath: join(work, 'big.tar.gz'), metaSize: 0 }, out, { signal: abort.signal });
    abort.abort();
    await expect(unpacking).rejects.toMatchObject({ kind: 'unavailable', message: 'Unpacking the image was cancelled' });
  });
});
