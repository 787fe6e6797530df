import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { peerCredentials, unixGroup } from './peer-credentials.js';
import { run } from './run.js';

describe('peerCredentials', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-kit-peer-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('knows the user of the other end', async () => {
    const server = createServer().listen(join(folder, 'socket'));
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const client = run('perl', ['-MIO::Socket::UNIX', '-e', '$s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <$s>', join(folder, 'socket')]);
    const [socket] = await accepted;
    expect(peerCredentials(socket)).toMatchObject({ uid: 0, gid: 0 });
    expect(peerCredentials(socket)?.pid).not.toBe(process.pid);
    socket.destroy();
    expect(peerCredentials(socket)).toBeUndefined();
    await client;
    server.close();
  });

  it('knows nobody at the end of a TCP connection', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as { port: number }).port, '127.0.0.1');
    await once(client, 'connect');
    expect(peerCredentials(client)).toBeUndefined();
    client.destroy();
    server.close();
  });
});

describe('unixGroup', () => {
  it('finds a group and its members', () => {
    expect(unixGroup('lxd', 'root:x:0:\nlxd:x:134:ann,bob\n')).toEqual({ name: 'lxd', gid: 134, members: ['ann', 'bob'] });
    expect(unixGroup('none', 'root:x:0:\n')).toBeUndefined();
    expect(unixGroup('root')?.gid).toBe(0);
  });
});
