import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyNft, deleteNftTable, listNftTables } from './firewall.js';
import {
  addAddress,
  addLink,
  addVethPair,
  changeLink,
  deleteLink,
  linkExists,
  listLinks,
  moveLink,
  readCounters,
  readLink,
  reclaimLink,
} from './links.js';
import { spawn, type SpawnedProcess } from './spawn.js';
import { readSysctl, writeSysctl } from './sysctl.js';

const hash = createHash('sha256').update(`links ${process.pid}`).digest('hex').slice(0, 6);
const name = (role: string): string => `hk${hash}${role}`;

describe('links', () => {
  let other: SpawnedProcess;
  beforeEach(async () => {
    other = spawn({ path: '/usr/bin/unshare', args: ['-n', 'sleep', '60'] });
    while (!readCountersOf(other.pid)) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  afterEach(async () => {
    other.kill('SIGKILL', true);
    await other.ended;
    for (const role of ['a', 'b', 'br']) await deleteLink(name(role));
  });
  /** The namespace is new once it shows fewer interfaces than ours. */
  const readCountersOf = (pid: number): boolean => [...readCounters(pid).keys()].join() !== [...readCounters('self').keys()].join();

  it('joins a namespace to a bridge, and takes it back', async () => {
    await addLink(name('br'), 'bridge');
    await addVethPair(name('a'), name('b'), { mac: '02:00:00:00:00:01', peerMac: '02:00:00:00:00:02', mtu: 1400 });
    await expect(addVethPair(name('a'), name('b'))).rejects.toMatchObject({ kind: 'conflict' });
    await changeLink(name('a'), { master: name('br'), up: true });
    await moveLink(name('b'), other.pid, 'eth0');
    await changeLink('eth0', { up: true }, { pid: other.pid });
    await addAddress('eth0', '10.91.0.2/24', { pid: other.pid });
    const inside = (await listLinks({ pid: other.pid })).find((link) => link.name === 'eth0');
    expect(inside).toMatchObject({ mac: '02:00:00:00:00:02', mtu: 1400, kind: 'veth', type: 'ether' });
    expect(inside?.addresses[0]).toEqual({ family: 'inet', address: '10.91.0.2', prefixLength: 24, scope: 'global' });
    expect(readCounters(other.pid).get('eth0')).toMatchObject({ errorsReceived: 0 });
    const outside = await readLink(name('a'));
    expect(outside).toMatchObject({ master: name('br'), mac: '02:00:00:00:00:01', peerIndex: inside?.index });
    expect(linkExists(name('b'))).toBe(false);
    await reclaimLink('eth0', other.pid, name('b'));
    expect(linkExists(name('b'))).toBe(true);
    await changeLink(name('a'), { master: null, mtu: 1300 });
    expect((await readLink(name('a')))?.master).toBeUndefined();
    await deleteLink(name('a'));
    await deleteLink(name('a'));
    expect(await readLink(name('b'))).toBeUndefined();
    await expect(changeLink(name('a'), { up: true })).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('sets kernel parameters and refuses paths that lead elsewhere', async () => {
    await addLink(name('br'), 'bridge');
    const path = `net/ipv4/conf/${name('br')}/forwarding`;
    writeSysctl(path, 0);
    expect(readSysctl(path)).toBe('0');
    expect(readSysctl('net/no/such')).toBeUndefined();
    expect(() => writeSysctl('net/no/such', 1)).toThrow(expect.objectContaining({ kind: 'unsupported' }));
    expect(() => writeSysctl(path, 'words')).toThrow(expect.objectContaining({ kind: 'invalid' }));
    expect(() => readSysctl('../../etc/passwd')).toThrow(expect.objectContaining({ kind: 'invalid' }));
  });

  it('refuses names that the kernel or ip would misread', async () => {
    for (const bad of ['', '-x', 'a/b', 'a b', 'sixteencharacter']) await expect(deleteLink(bad)).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('firewall', () => {
  it('applies a table whole or not at all, and removes it', async () => {
    const table = name('t');
    const define = (rule: string): string => `table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\nchain c {\n${rule}\n}\n}\n`;
    try {
      await applyNft(define('ip saddr 10.91.0.0/24 accept'));
      await applyNft(define('ip saddr 10.92.0.0/24 accept'));
      await expect(applyNft(define('nonsense'))).rejects.toMatchObject({ kind: 'internal', detail: expect.stringContaining('nonsense') });
      expect(await listNftTables('inet')).toContain(table);
    } finally {
      await deleteNftTable('inet', table);
      await deleteNftTable('inet', table);
    }
    expect(await listNftTables('inet')).not.toContain(table);
  });
});
