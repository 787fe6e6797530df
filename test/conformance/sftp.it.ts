import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Server, until } from '../support/server.js';

let server: Server;
let mount: ChildProcess | undefined;
const local = (name: string): string => join(server.dir, 'client', name);

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ network: false });
  await server.ok(['launch', 'busybox', 'c1']);
  await server.ok(['init', 'busybox', 'stopped']);
}, 120_000);
afterEach(() => void mount?.kill('SIGKILL'));
afterAll(() => server?.stop(), 120_000);

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** `lxc file mount` as a bridge for OpenSSH's own client; gives what runs its commands. */
async function mounted(instance: string): Promise<(commands: string) => Promise<{ code: number; stdout: string; stderr: string }>> {
  const port = await freePort();
  const environment = { ...process.env, LXD_DIR: server.dir, LXD_CONF: local(''), HOME: local('') };
  mount = spawn('/usr/bin/lxc', ['file', 'mount', instance, `--listen=127.0.0.1:${port}`, '--no-auth'], { env: environment, stdio: 'ignore' });
  await until('the bridge', () => answers(port));
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'].flatMap((option) => ['-o', option]);
  return (input) => server.run('/usr/bin/sftp', ['-q', '-b', '-', ...options, '-P', String(port), 'root@127.0.0.1'], { input });
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(!!socket.destroy()));
    socket.on('error', () => resolve(false));
  });

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describe('SFTP', () => {
  it('moves files both ways, and does what a file system does', async () => {
    const sftp = await mounted('c1');
    writeFileSync(local('big'), randomBytes(5_000_000), { mode: 0o640 });
    const { code, stderr, stdout } = await sftp(
      [
        `put -p ${local('big')} /tmp/big`,
        `get /tmp/big ${local('back')}`,
        'mkdir /tmp/folder',
        'rename /tmp/big /tmp/folder/big',
        'symlink big /tmp/folder/link',
        'ln /tmp/folder/big /tmp/folder/hard',
        'chmod 600 /tmp/folder/big',
        'chown 1000 /tmp/folder/big',
        'chgrp 1001 /tmp/folder/big',
        'ls -la /tmp/folder',
        'df /tmp',
      ].join('\n'),
    );
    expect([code, stderr]).toEqual([0, '']);
    expect(sha256(local('back'))).toBe(sha256(local('big')));
    expect(stdout).toMatch(/-rw-------\s+2\s+1000\s+1001\s+5000000/);
    expect(await server.ok(['exec', 'c1', '--', 'stat', '-c', '%u %g %a %s', '/tmp/folder/hard'])).toBe('1000 1001 600 5000000\n');
    expect(await server.ok(['exec', 'c1', '--', 'readlink', '/tmp/folder/link'])).toBe('big\n');
    // What it makes is root's inside.
    expect(await server.ok(['exec', 'c1', '--', 'stat', '-c', '%u %g', '/tmp/folder'])).toBe('0 0\n');
    const removed = await sftp('rm /tmp/folder/big\nrm /tmp/folder/link\nrm /tmp/folder/hard\nrmdir /tmp/folder');
    expect([removed.code, removed.stderr]).toEqual([0, '']);
    expect((await server.lxc(['exec', 'c1', '--', 'ls', '/tmp/folder'])).code).not.toBe(0);
  });

  it('says what is not there, and never follows a link out of the instance', async () => {
    await server.ok(['exec', 'c1', '--', 'ln', '-sf', '/etc/debian_version', '/tmp/host']);
    const sftp = await mounted('c1');
    for (const path of ['/none', '/tmp/host', '/../../../etc/debian_version']) {
      const { code, stderr } = await sftp(`get ${path} ${local('stolen')}`);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/not found|No such file/i);
    }
  });

  it('reaches a stopped instance, with owners as inside, and lets it start', async () => {
    const sftp = await mounted('stopped');
    writeFileSync(local('note'), 'note\n');
    expect((await sftp(`put ${local('note')} /root/note`)).stderr).toBe('');
    await server.ok(['start', 'stopped']);
    expect(await server.ok(['exec', 'stopped', '--', 'stat', '-c', '%u %g', '/root/note'])).toBe('0 0\n');
    expect((await sftp(`get /root/note ${local('note2')}`)).stderr).toBe('');
    expect(statSync(local('note2')).size).toBe(5);
    await server.ok(['stop', 'stopped', '--force']);
    await server.ok(['delete', 'stopped']);
  });
});

describe('the upgrade', () => {
  const open = async (path: string, upgrade: string): Promise<{ head: string; socket: Socket }> => {
    const socket = connect(join(server.dir, 'unix.socket'));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`);
    const [head] = await new Promise<[string]>((resolve) => socket.once('data', (bytes: Buffer) => resolve([bytes.toString()])));
    return { head, socket };
  };

  it('is answered with 101, and refused with the usual envelope', async () => {
    const opened = await open('/1.0/instances/c1/sftp', 'sftp');
    expect(opened.head).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/);
    expect(opened.head).toMatch(/\r\nUpgrade: sftp\r\n/i);
    opened.socket.destroy();
    for (const [path, upgrade, status, text] of [
      ['/1.0/instances/none/sftp', 'sftp', 404, 'Instance not found'],
      ['/1.0/instances/c1/sftp', 'other', 400, 'Missing or invalid upgrade header'],
    ] as const) {
      const { head, socket } = await open(path, upgrade);
      expect(head.split(' ')[1]).toBe(String(status));
      await until('the whole answer', () => head.includes(text));
      socket.destroy();
    }
    expect((await server.api.raw('GET', '/1.0/instances/c1/sftp')).status).toBe(400);
  });

  it('ends a connection that speaks no SFTP, and one whose instance stops', async () => {
    const { socket } = await open('/1.0/instances/c1/sftp', 'sftp');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await closed;
    const idle = await open('/1.0/instances/c1/sftp', 'sftp');
    const ended = new Promise((resolve) => idle.socket.once('close', resolve));
    await server.ok(['stop', 'c1', '--force']);
    await ended;
  });
});
