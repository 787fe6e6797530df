import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Server, until } from '../support/server.js';

let server: Server;
let scratch: string;
let backup: string;
const data = (): string[] => readdirSync(join(server.dir, 'backups/data'));
const files = (): number => {
  const at = `/proc/${server.pid}/fd`;
  return readdirSync(at).filter((fd) => {
    try {
      return readlinkSync(join(at, fd)).startsWith(join(server.dir, 'backups'));
    } catch {
      return false;
    }
  }).length;
};
const names = (): Promise<string[]> => server.api.get('/1.0/instances');
const upload = (file: string, name: string): Promise<unknown> => server.api.upload('/1.0/instances', file, { 'X-LXD-name': name });

/** A backup of c1 made worse by a script in Python, which has `t`, the tar that it writes, and `add(name, ...)`. */
function forged(script: string): string {
  const file = join(scratch, 'forged.tar');
  const program = `
import io, sys, tarfile
old = tarfile.open(sys.argv[1])
index = old.extractfile('backup/index.yaml').read().decode()
meta = old.extractfile('backup/container/backup.yaml').read()
t = tarfile.open(sys.argv[2], 'w', format=tarfile.PAX_FORMAT)
def add(name, data=b'', **kw):
    i = tarfile.TarInfo(name)
    for k, v in kw.items(): setattr(i, k, v)
    if i.type == tarfile.REGTYPE: i.size = len(data)
    t.addfile(i, io.BytesIO(data) if i.type == tarfile.REGTYPE else None)
D, S, H = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
${script}
t.close()
`;
  execFileSync('python3', ['-c', program, backup, file]);
  return file;
}
const plain = `add('backup/index.yaml', index.encode()); add('backup/container', type=D, mode=0o755); add('backup/container/backup.yaml', meta)`;

beforeAll(async () => {
  server = await Server.start({ kind: 'muster' });
  await server.furnish({ network: false });
  scratch = mkdtempSync('/var/tmp/muster-transfer-');
  backup = join(scratch, 'c1.tar');
  await server.ok(['init', 'busybox', 'c1']);
  await server.ok(['export', 'c1', backup, '--compression', 'none']);
}, 120_000);
afterAll(async () => {
  await server?.stop();
  rmSync(scratch, { recursive: true, force: true });
}, 120_000);

describe('a backup from a stranger', () => {
  it.each([
    [
      'names a snapshot that leads elsewhere',
      `add('backup/index.yaml', index.replace('optimized: false', 'snapshots: [../../../x]\\noptimized: false').encode())`,
    ],
    ['names itself by a path', `add('backup/index.yaml', index.replace('name: c1', 'name: ../c9').encode())`],
    ['has no index', `add('backup/container', type=D)`],
    ['has an index that is a link', `add('backup/index.yaml', type=S, linkname='/etc/passwd')`],
    ['has an index that is no YAML', `add('backup/index.yaml', b'a: [')`],
  ])('is refused at once when it %s', async (_, script) => {
    const file = forged(script);
    const { status } = await server.api.raw('POST', '/1.0/instances', createReadStream(file), { 'content-type': 'application/octet-stream' });
    expect(status).toBe(400);
    expect([data(), await names()]).toEqual([[], ['/1.0/instances/c1']]);
  });

  it.each([
    ['has a root that is a link', `${plain}; add('backup/container/rootfs', type=S, linkname='/')`, 'rootfs is no directory'],
    [
      'has templates that are links',
      `${plain}; add('backup/container/rootfs', type=D); add('backup/container/templates', type=D); add('backup/container/templates/x', type=S, linkname='/etc/shadow')`,
      'templates/x is no file',
    ],
    [
      'has a backup.yaml that is a link',
      `${plain}; add('backup/container/rootfs', type=D); add('backup/container/backup.yaml', type=S, linkname='/etc/shadow')`,
      'backup.yaml is no file',
    ],
    ['climbs out', `${plain}; add('backup/container/rootfs', type=D); add('backup/container/../../../../escaped', b'evil')`, 'could not be unpacked'],
    ['lacks its container', `add('backup/index.yaml', index.encode())`, 'could not be unpacked'],
  ])('leaves nothing when it %s', async (_, script, why) => {
    await expect(upload(forged(script), 'evil')).rejects.toThrow(why);
    expect(await names()).toEqual(['/1.0/instances/c1']);
    expect(readdirSync(join(server.dir, 'storage-pools/default/containers'))).toEqual(['c1']);
    await until('the upload is gone', () => data().length === 0);
    expect(existsSync(join(server.dir, 'storage-pools/default/escaped'))).toBe(false);
  });

  it('writes nothing through its own links', async () => {
    const outside = join(scratch, 'outside');
    writeFileSync(outside, 'untouched');
    const script = `${plain}; add('backup/container/rootfs', type=D)
add('backup/container/rootfs/up', type=S, linkname='${scratch}')
add('backup/container/rootfs/up/outside', b'evil')
add('backup/container/rootfs/hard', type=H, linkname='${outside}')`;
    await upload(forged(script), 'evil').catch(() => undefined);
    expect(readFileSync(outside, 'utf8')).toBe('untouched');
    await server.lxc(['delete', 'evil']);
  });

  it('leaves nothing when it is cut, or no archive', async () => {
    const cut = join(scratch, 'cut.tar');
    execFileSync('cp', [backup, cut]);
    truncateSync(cut, 600_000);
    await expect(upload(cut, 'cut')).rejects.toThrow();
    writeFileSync(cut, 'no archive');
    await expect(upload(cut, 'cut')).rejects.toThrow('not a tarball');
    await until('the upload is gone', () => data().length === 0);
    expect(await names()).toEqual(['/1.0/instances/c1']);
  });
});

describe('a client that vanishes', () => {
  it('in the middle of an upload leaves nothing', async () => {
    const call = request({
      socketPath: server.api.socketPath,
      method: 'POST',
      path: '/1.0/instances',
      headers: { 'content-type': 'application/octet-stream', 'content-length': '100000000' },
    });
    call.on('error', () => undefined);
    call.write(readFileSync(backup).subarray(0, 700_000));
    await until('the upload has begun', () => data().length === 1);
    call.destroy();
    await until('the upload is gone', () => data().length === 0 && files() === 0);
    expect(await names()).toEqual(['/1.0/instances/c1']);
  });

  it('in the middle of a download leaves no open file', async () => {
    const big = join(scratch, 'big');
    execFileSync('dd', ['if=/dev/urandom', `of=${big}`, 'bs=1M', 'count=20', 'status=none']);
    await server.ok(['file', 'push', big, 'c1/root/big']);
    await server.api.change('POST', '/1.0/instances/c1/backups', { name: 'b', compression_algorithm: 'none' });
    for (let tries = 0; tries < 5; tries++) {
      await new Promise<void>((resolve) => {
        const call = request({ socketPath: server.api.socketPath, path: '/1.0/instances/c1/backups/b/export' }, (response) => {
          response.once('data', () => call.destroy());
          response.on('error', () => undefined).once('close', resolve);
        });
        call.on('error', () => undefined).end();
      });
    }
    await until('the files are closed', () => files() === 0);
    await server.api.change('DELETE', '/1.0/instances/c1/backups/b');
  });
});

describe('a backup', () => {
  it('goes with its instance', async () => {
    await server.ok(['copy', 'c1', 'c2']);
    await server.api.change('POST', '/1.0/instances/c2/backups', { name: 'b' });
    expect(data()).toHaveLength(1);
    await server.ok(['delete', 'c2']);
    await until('its file is gone', () => data().length === 0 && !existsSync(join(server.dir, 'backups/instances/c2')));
  });

  it('goes when its time is over, and what a crash left goes at the start', async () => {
    await server.api.change('POST', '/1.0/instances/c1/backups', { name: 'kept' });
    void server.api.change('POST', '/1.0/instances/c1/backups', { name: 'half', compression_algorithm: 'xz -9' }).catch(() => undefined);
    await until('it is being written', () => data().some((name) => name.endsWith('.part')));
    await server.crash();
    await server.boot();
    expect(await server.api.get('/1.0/instances/c1/backups')).toEqual(['/1.0/instances/c1/backups/kept']);
    expect(data()).toHaveLength(1);
    await sleep(10);
    await server.api.change('DELETE', '/1.0/instances/c1/backups/kept');
  });
});
