import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { execFileSync } from 'node:child_process';
import { chown, link, lstat, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { FrameLink } from './frame-link.js';
import { receiveTree, sendTree } from './rsync.js';

let dir: string;
let close: () => void;
let ends: [WebSocket, WebSocket];

beforeEach(async () => {
  dir = await mkdtemp('/var/tmp/muster-rsync-');
  await mkdir(join(dir, 'from'));
  await mkdir(join(dir, 'to'));
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const there = new Promise<WebSocket>((resolve) => sockets.once('connection', resolve));
  const here = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await new Promise((resolve) => here.once('open', resolve));
  ends = [here, await there];
  close = () => {
    for (const socket of ends) socket.terminate();
    server.close();
  };
});
afterEach(async () => {
  close();
  await rm(dir, { recursive: true, force: true });
});

const features = { xattrs: true, delete: true, compress: true };

describe('rsync over a websocket', () => {
  it('carries trees one after the other on one connection', async () => {
    await writeFile(join(dir, 'from/a'), 'one');
    await chown(join(dir, 'from/a'), 1_000_000, 1_000_000);
    execFileSync('setfattr', ['-n', 'user.x', '-v', '1', join(dir, 'from/a')]);
    await symlink('/etc/passwd', join(dir, 'from/l'));
    await link(join(dir, 'from/a'), join(dir, 'from/h'));
    execFileSync('mknod', [join(dir, 'from/null'), 'c', '1', '3']);
    await writeFile(join(dir, 'from/big'), Buffer.alloc(20 * 1024 * 1024, 'abcdefg1'));
    await writeFile(join(dir, 'to/old'), 'gone');
    const [sender, receiver] = [new FrameLink(ends[0]), new FrameLink(ends[1])];
    let bytes = 0;
    const once = () =>
      Promise.all([
        sendTree(sender, join(dir, 'from'), { features }),
        receiveTree(receiver, join(dir, 'to'), { features, thorough: true, onBytes: (n) => (bytes = n) }),
      ]);
    await once();
    expect(bytes).toBeGreaterThan(0);
    expect((await readdir(join(dir, 'to'))).sort()).toEqual(['a', 'big', 'h', 'l', 'null']);
    const a = await stat(join(dir, 'to/a'));
    expect([a.uid, a.gid]).toEqual([1_000_000, 1_000_000]);
    expect((await lstat(join(dir, 'to/null'))).isCharacterDevice()).toBe(true);
    expect(execFileSync('getfattr', ['-n', 'user.x', '--absolute-names', join(dir, 'to/a')]).toString()).toContain('user.x="1"');
    const { atime, mtime } = await stat(join(dir, 'from/a'));
    await writeFile(join(dir, 'from/a'), 'two');
    await utimes(join(dir, 'from/a'), atime, mtime);
    await utimes(join(dir, 'to/a'), atime, mtime);
    await rm(join(dir, 'from/big'));
    await once();
    expect(await readFile(join(dir, 'to/a'), 'utf8')).toBe('two');
    expect((await readdir(join(dir, 'to'))).sort()).toEqual(['a', 'h', 'l', 'null']);
  });

  it('ends on both sides when one is cancelled or the connection is lost', async () => {
    await writeFile(join(dir, 'from/big'), Buffer.alloc(50 * 1024 * 1024, 1));
    const abort = new AbortController();
    const plain = { xattrs: true, delete: true, compress: false };
    const sending = sendTree(new FrameLink(ends[0]), join(dir, 'from'), { features: plain, onBytes: () => abort.abort(), signal: abort.signal });
    const receiving = receiveTree(new FrameLink(ends[1]), join(dir, 'to'), { features: plain });
    receiving.catch(() => {});
    await expect(sending).rejects.toThrow('cancelled');
    ends[0].terminate();
    await expect(receiving).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
