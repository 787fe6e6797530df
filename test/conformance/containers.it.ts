import { existsSync, mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance, InstanceState } from '#api-contract';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

let server: Server;
const state = (name: string): Promise<InstanceState> => server.api.get(`/1.0/instances/${name}/state`);

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  await server.ok(['launch', 'busybox', 'c1']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('lxc, on a container', () => {
  it('lists it as running, with its address', async () => {
    await until('an address by DHCP', async () => (await server.ok(['list', '-c', 'ns4', '--format', 'csv'])).includes(`${server.subnet}.`));
    expect(await server.ok(['list', '--format', 'csv', '-c', 'nst'])).toContain('c1,RUNNING,CONTAINER');
  });

  it('shows figures that are those of its cgroup', async () => {
    const info = await server.ok(['info', 'c1']);
    expect(info).toMatch(/Status: RUNNING/);
    const { pid, processes, memory, cpu } = await state('c1');
    expect(readFileSync(`/proc/${pid}/uid_map`, 'utf8')).not.toMatch(/^\s*0\s+0\s/);
    expect(processes).toBeGreaterThan(0);
    expect(memory.usage).toBeGreaterThan(0);
    expect(cpu.usage).toBeGreaterThan(0);
  });

  it('executes: output, errors, exit status, input, environment, user, directory', async () => {
    covers('container_exec_user_group_cwd', 'container_exec_recording');
    expect(await server.lxc(['exec', 'c1', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(await server.ok(['exec', 'c1', '--', 'cat'], { input: 'through a pipe\n' })).toBe('through a pipe\n');
    expect(await server.ok(['exec', 'c1', '--env', 'BAND=x', '--', 'sh', '-c', 'echo $BAND $HOME $USER'])).toBe('x /root root\n');
    expect(await server.ok(['exec', 'c1', '--user', '1000', '--group', '1000', '--cwd', '/tmp', '--', 'sh', '-c', 'id -u; id -g; pwd'])).toBe(
      '1000\n1000\n/tmp\n',
    );
    expect((await server.lxc(['exec', 'c1', '--', '/no/such'])).code).toBe(127);
  });

  it('records what a command wrote where the caller asks for it', async () => {
    const body = { command: ['sh', '-c', 'echo kept; exit 3'], 'record-output': true, 'wait-for-websocket': false, interactive: false };
    const metadata = (await server.api.change('POST', '/1.0/instances/c1/exec', body)) as { return: number; output: Record<string, string> };
    expect(metadata.return).toBe(3);
    expect((await server.api.raw('GET', metadata.output['1']!)).text).toBe('kept\n');
  });

  it('gives a terminal of the size that the client has', async () => {
    const script = `stty rows 33 cols 77; /usr/bin/lxc exec c1 -t -- sh -c 'stty size; test -t 0 && echo terminal'`;
    const { stdout } = await server.run('/usr/bin/script', ['-qefc', script, '/dev/null'], {});
    expect(stdout).toContain('33 77');
    expect(stdout).toContain('terminal');
  });

  it('pushes and pulls files, directories, symlinks and modes', async () => {
    covers('directory_manipulation', 'file_symlinks', 'file_delete', 'file_append', 'file_get_symlink');
    const local = join(server.dir, 'client');
    writeFileSync(join(local, 'a'), 'abc\n', { mode: 0o640 });
    await server.ok(['file', 'push', join(local, 'a'), 'c1/tmp/a', '--uid', '1000', '--gid', '1000', '--mode', '0600']);
    expect(await server.ok(['exec', 'c1', '--', 'stat', '-c', '%u %g %a', '/tmp/a'])).toBe('1000 1000 600\n');
    await server.ok(['file', 'pull', 'c1/tmp/a', join(local, 'b')]);
    expect(readFileSync(join(local, 'b'), 'utf8')).toBe('abc\n');
    mkdirSync(join(local, 'tree/deep'), { recursive: true });
    writeFileSync(join(local, 'tree/deep/file'), 'x');
    symlinkSync('deep/file', join(local, 'tree/link'));
    await server.ok(['file', 'push', '-r', join(local, 'tree'), 'c1/tmp']);
    expect(await server.ok(['exec', 'c1', '--', 'cat', '/tmp/tree/link'])).toBe('x');
    mkdirSync(join(local, 'back'));
    await server.ok(['file', 'pull', '-r', 'c1/tmp/tree', join(local, 'back')]);
    expect(readFileSync(join(local, 'back/tree/deep/file'), 'utf8')).toBe('x');
    expect(readlinkSync(join(local, 'back/tree/link'))).toMatch(/deep\/file$/);
    await server.ok(['file', 'delete', 'c1/tmp/a']);
    expect((await server.lxc(['exec', 'c1', '--', 'ls', '/tmp/a'])).code).not.toBe(0);
    await server.api.raw('POST', '/1.0/instances/c1/files?path=/tmp/tree/deep/file', 'yz', { 'x-lxd-write': 'append' });
    expect(await server.ok(['exec', 'c1', '--', 'cat', '/tmp/tree/deep/file'])).toBe('xyz');
  });

  it('never follows a link out of the instance', async () => {
    await server.ok(['exec', 'c1', '--', 'ln', '-s', '/etc/debian_version', '/tmp/host']);
    expect((await server.api.raw('GET', '/1.0/instances/c1/files?path=/../../../../etc/debian_version')).status).toBe(404);
    expect(existsSync('/etc/debian_version')).toBe(true);
    await server.ok(['exec', 'c1', '--', 'rm', '/tmp/host']);
  });

  it('freezes and goes on', async () => {
    await server.ok(['pause', 'c1']);
    expect((await state('c1')).status).toBe('Frozen');
    await server.ok(['start', 'c1']);
    expect((await state('c1')).status).toBe('Running');
  });

  it('restarts, stops cleanly, starts again, and keeps its MAC', async () => {
    const mac = await server.ok(['exec', 'c1', '--', 'cat', '/sys/class/net/eth0/address']);
    await server.ok(['restart', 'c1', '--force']);
    expect((await state('c1')).status).toBe('Running');
    await server.ok(['stop', 'c1', '--force']);
    expect((await state('c1')).status).toBe('Stopped');
    await server.ok(['start', 'c1']);
    expect(await server.ok(['exec', 'c1', '--', 'cat', '/sys/class/net/eth0/address'])).toBe(mac);
  });

  it('is noticed when it stops by itself', async () => {
    await server.ok(['launch', 'busybox', 'c2']);
    await server.lxc(['exec', 'c2', '--', 'poweroff', '-f']);
    await until('c2 is stopped', async () => (await server.api.get<Instance>('/1.0/instances/c2')).status === 'Stopped');
    await server.ok(['delete', 'c2']);
  });

  it('is renamed and deleted, and leaves nothing', async () => {
    await server.ok(['init', 'busybox', 'c3']);
    await server.ok(['rename', 'c3', 'c4']);
    expect((await server.api.get<Instance>('/1.0/instances/c4')).name).toBe('c4');
    expect(statSync(join(server.dir, 'containers/c4')).isDirectory()).toBe(true);
    await server.ok(['delete', 'c4']);
    expect(existsSync(join(server.dir, 'storage-pools/default/containers/c4'))).toBe(false);
    expect((await server.api.raw('GET', '/1.0/instances/c4')).status).toBe(404);
  });
});

describe('bad input', () => {
  const post = (path: string, body: string) => server.api.raw('POST', path, body, { 'content-type': 'application/json' });

  it.each([
    ['a name with .. and /', '{"name":"../x","source":{"type":"none"}}'],
    ['a name with a blank', '{"name":"bad name!","source":{"type":"none"}}'],
    ['a source that is none', '{"name":"x1","source":{"type":"zzz"}}'],
    ['a number for a name', '{"name":5,"source":{"type":"none"}}'],
    ['a list for a config', '{"name":"x1","config":[],"source":{"type":"none"}}'],
    ['half a body', '{"name":"x1","sour'],
  ])('is a clear 400: %s', async (_, body) => {
    const { status, text } = await post('/1.0/instances', body);
    expect(status).toBe(400);
    expect((JSON.parse(text) as { error: string }).error.length).toBeGreaterThan(5);
  });

  it('is refused when it is too large', async () => {
    expect((await post('/1.0/instances', `{"name":"x1","description":"${'x'.repeat(20_000_000)}"}`)).status).toBe(413);
  });

  it('leaves nothing behind', async () => {
    expect(await server.api.get('/1.0/instances')).toEqual(['/1.0/instances/c1']);
  });
});
