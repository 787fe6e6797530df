import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '#host-kit';
import { silent, systemClock } from '#kit';
import type { HostContext } from '#members';
import { networkDriverContract } from '#testkit';
import type { ManagedNetwork } from '../../model/index.js';
import { BridgeDriver } from './bridge.driver.js';

networkDriverContract('bridge', () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'muster-net-'));
  const hash = createHash('sha256').update(stateDir).digest('hex').slice(0, 6);
  const table = `muster_${hash}`;
  const context = {
    server: { stateDir, memberName: () => 'none', memberId: 1, fingerprint: () => hash },
    naming: { hash, nftTable: table, lxc: () => '' },
    clock: systemClock,
    log: silent,
  } as unknown as HostContext;
  const octets = [0, 2, 4].map((at) => parseInt(hash.slice(at, at + 2), 16) % 255);
  const of = (id: number, name: string, third: number): ManagedNetwork => ({
    id,
    project: 'default',
    name,
    type: 'bridge',
    config: { 'ipv4.address': `10.${octets[0]}.${third}.1/24`, 'ipv6.address': 'none' },
  });
  return Promise.resolve({
    driver: new BridgeDriver(context),
    network: of(1, `mk${hash}`, octets[1]!),
    other: of(2, `ml${hash}`, (octets[1]! + 1) % 255),
    again: () => new BridgeDriver(context),
    async [Symbol.asyncDispose]() {
      await run('nft', ['-f', '-'], { input: `add table inet ${table}\ndelete table inet ${table}\n` });
      rmSync(stateDir, { recursive: true, force: true });
    },
  });
});
