import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Profile, StoragePool } from '#api-contract';
import { Server } from '../support/server.js';

let server: Server;
const muster = async (args: string[], input?: string): Promise<string> => {
  const { code, stdout, stderr } = await server.muster(args, { input });
  expect(`${code} ${stderr}`).toMatch(/^0 /);
  return stdout;
};

beforeAll(async () => {
  server = await Server.start();
}, 60_000);
afterAll(() => server?.stop(), 120_000);

describe('muster init', () => {
  it('--preseed makes what is missing, changes what is there, and refuses what it does not know', async () => {
    const preseed = (description: string): string =>
      `config:\n  user.site: here\nstorage_pools:\n- name: data\n  driver: dir\n  description: ${description}\nnetworks:\n- name: ${server.bridge}\n  type: bridge\n  config: {ipv4.address: none, ipv6.address: none}\nprofiles:\n- name: default\n  devices:\n    root: {type: disk, path: /, pool: data}\n    eth0: {type: nic, network: ${server.bridge}, name: eth0}\n`;
    await muster(['init', '--preseed'], preseed('first'));
    await muster(['init', '--preseed'], preseed('second'));
    expect((await server.api.get<StoragePool>('/1.0/storage-pools/data')).description).toBe('second');
    expect(Object.keys((await server.api.get<Profile>('/1.0/profiles/default')).devices).sort()).toEqual(['eth0', 'root']);
    expect((await server.muster(['init', '--preseed'], { input: 'nonsense: 1\n' })).stderr).toContain('field nonsense not found');
  });

  it('takes back what it made when a part of it fails', async () => {
    const bad = 'storage_pools:\n- name: fine\n  driver: dir\nprofiles:\n- name: default\n  config: {no.such.key: "1"}\n';
    expect((await server.muster(['init', '--preseed'], { input: bad })).code).toBe(1);
    expect((await server.api.raw('GET', '/1.0/storage-pools/fine')).status).toBe(404);
  });

  it('--dump prints what would make the same again', async () => {
    const dumped = parse(await muster(['init', '--dump'])) as { config: object; storage_pools: { name: string }[]; networks: { name: string }[] };
    expect(dumped.config).toMatchObject({ 'user.site': 'here' });
    expect(dumped.storage_pools.map(({ name }) => name)).toEqual(['data']);
    expect(dumped.networks.map(({ name }) => name)).toEqual([server.bridge]);
    await muster(['init', '--preseed'], await muster(['init', '--dump']));
  });

  it('--auto leaves alone what is configured, and --minimal too', async () => {
    await muster(['init', '--auto']);
    await muster(['init', '--minimal']);
    expect(await server.api.get<string[]>('/1.0/storage-pools')).toEqual(['/1.0/storage-pools/data']);
    expect((await server.muster(['init', '--auto', '--storage-backend', 'btrfs'], {})).stderr).toContain('Storage has already been configured');
  });

  it('asks, where no mode is given', async () => {
    const out = await muster(['init'], 'no\nno\nyes\n');
    expect(out).toContain('Would you like the server to be available over the network?');
    expect(out).toContain('storage_pools');
  });
});

describe('muster', () => {
  it('knows its version, its host and its database', async () => {
    expect(await muster(['version'])).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await server.muster(['doctor'])).stdout).toContain('lxc-start');
    expect(await muster(['sql', 'global', "SELECT name FROM profiles WHERE project = 'default'"])).toMatch(/\| default \|/);
    expect(await muster(['sql', 'local', 'SELECT * FROM config'])).toContain('key');
    expect((await server.muster(['nonsense'])).code).toBe(1);
  });

  it('activateifneeded says why it would', async () => {
    expect((await server.muster(['activateifneeded', '--debug'])).stderr).not.toContain('activating');
    await server.api.change('PATCH', '/1.0', { config: { 'core.https_address': '127.0.0.1:0' } });
    expect((await server.muster(['activateifneeded', '--debug'])).stderr).toContain('Daemon has core.https_address set, activating...');
  });
});
