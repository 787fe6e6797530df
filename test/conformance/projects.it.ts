import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { covers } from '../support/covers.js';
import { Server } from '../support/server.js';

let server: Server;
const refused = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await server.lxc([...args, '--project', 'p']);
  expect(code, args.join(' ')).not.toBe(0);
  return stderr;
};
const set = (...pairs: string[]): Promise<string> => server.ok(['project', 'set', 'p', ...pairs]);

beforeAll(async () => {
  server = await Server.start();
  await server.furnish({ network: false });
  await server.ok(['project', 'create', 'p', '-c', 'features.images=false', '-c', 'features.profiles=false']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

describe('the limits of a project', () => {
  it('hold for how many instances there are', async () => {
    covers('projects_limits', 'projects_limits_instances');
    await set('limits.instances=1');
    await server.ok(['init', 'busybox', 'a', '--project', 'p']);
    expect(await refused('init', 'busybox', 'b')).toContain('Reached maximum number of instances');
    await set('limits.instances=');
    await server.ok(['init', 'busybox', 'b', '--project', 'p']);
    expect((await server.lxc(['project', 'set', 'p', 'limits.containers=1'])).code).not.toBe(0);
  });

  it('hold for the sum of their memory and disks, however it is given', async () => {
    covers('projects_limits_disk');
    await server.ok(['profile', 'set', 'default', 'limits.memory=1GiB']);
    await server.ok(['profile', 'device', 'set', 'default', 'root', 'size=100MiB']);
    await set('limits.memory=2GiB', 'limits.disk=300MiB');
    expect((await server.lxc(['profile', 'set', 'default', 'limits.memory=2GiB'])).stderr).toContain('limits.memory');
    expect(await refused('storage', 'volume', 'create', 'default', 'v')).toContain('has no "size"');
    await server.ok(['storage', 'volume', 'create', 'default', 'v', 'size=100MiB', '--project', 'p']);
    expect(await refused('storage', 'volume', 'create', 'default', 'w', 'size=1MiB')).toContain('limits.disk');
    const { resources } = await server.api.get<{ resources: Record<string, { Limit: number; Usage: number }> }>('/1.0/projects/p/state');
    expect(resources.disk).toEqual({ Limit: 300 * 1024 ** 2, Usage: 300 * 1024 ** 2 });
  });
});
