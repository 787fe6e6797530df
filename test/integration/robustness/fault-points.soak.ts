import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FaultPoints, type CutOff } from '../../support/fault-points.js';
import { Server } from '../../support/server.js';

/** kill -9 of the daemon at every step of what changes instances; after the next start each is whole or undone. */
describe.each(['dir', 'btrfs'])('on %s', (driver) => {
  const scratch = mkdtempSync(join(tmpdir(), 'muster-faults-'));
  const faults = new FaultPoints(join(scratch, 'points'));
  const backup = join(scratch, 'backup.tar.gz');
  let server: Server;

  beforeAll(async () => {
    server = await Server.start({ environment: faults.environment });
    await server.furnish({ driver });
    await server.ok(['init', 'busybox', 'base']);
    await server.ok(['file', 'push', '-', 'base/root/mark'], { input: 'old' });
    await server.ok(['snapshot', 'base', 'old']);
    await server.api.change('POST', '/1.0/instances/base/backups', { name: 'b1' });
    await server.run(
      '/usr/bin/curl',
      ['-s', '--unix-socket', server.api.socketPath, '-o', backup, 'http://muster/1.0/instances/base/backups/b1/export'],
      {},
    );
    await server.api.change('DELETE', '/1.0/instances/base/backups/b1');
    await server.ok(['file', 'push', '-', 'base/root/mark'], { input: 'new' });
  }, 120_000);
  afterAll(async () => {
    await server?.stop();
    rmSync(scratch, { recursive: true, force: true });
  }, 120_000);

  const does = (method: string, path: string, body?: unknown) => (): Promise<unknown> => server.api.change(method, `/1.0/instances${path}`, body);
  const copies = (name: string) => does('POST', '', { name, source: { type: 'copy', source: 'base' } });
  const state = (action: string) => does('PUT', '/base/state', { action, force: true, timeout: 10 });
  const mark = async (): Promise<string> => (await server.api.raw('GET', '/1.0/instances/base/files?path=/root/mark')).text;
  const cases: Record<string, CutOff> = {
    create: { run: does('POST', '', { name: 'c1', source: { type: 'image', alias: 'busybox' } }), back: does('DELETE', '/c1') },
    start: { run: state('start'), back: state('stop') },
    snapshot: { run: does('POST', '/base/snapshots', { name: 's1' }), back: does('DELETE', '/base/snapshots/s1') },
    restore: {
      run: does('PUT', '/base', { restore: 'old' }),
      back: () => server.api.raw('POST', '/1.0/instances/base/files?path=/root/mark', 'new'),
      facts: async () => [`mark ${await mark()}`],
    },
    copy: { run: copies('c2'), back: does('DELETE', '/c2') },
    import: { run: () => server.api.upload('/1.0/instances', backup, { 'X-LXD-name': 'c3' }), back: does('DELETE', '/c3') },
    rename: { run: does('POST', '/base', { name: 'renamed' }), back: does('POST', '/renamed', { name: 'base' }) },
    delete: { run: does('DELETE', '/gone'), back: copies('gone') },
  };

  it('what fills a directory dies with the daemon', async () => {
    const fills = /^started: .*\/(tar|cp|rsync|btrfs receive) /;
    const programs = (): string[] =>
      readdirSync('/proc').flatMap((pid) => {
        try {
          const words = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ') : '';
          return words.includes(`${server.dir}/storage-pools/`) ? [words] : [];
        } catch {
          return [];
        }
      });
    await faults.killAt(server, cases.import!, (step) => fills.test(step));
    expect(programs()).toEqual([]);
    await server.boot();
  });

  it.each(Object.keys(cases))('%s is whole or undone, wherever the daemon dies', { timeout: 600_000 }, async (name) => {
    if (name === 'delete') await cases.delete!.back();
    const { steps, whole, undone, failures } = await faults.everyStep(server, cases[name]!);
    console.log(`${driver} ${name}: killed at ${steps} steps: ${undone} undone, ${whole} whole, ${failures.length} neither`);
    expect(failures).toEqual([]);
    expect(whole + undone).toBeGreaterThan(3);
  });
});
