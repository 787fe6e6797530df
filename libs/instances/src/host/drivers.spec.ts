import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';
import { baseIdmap } from '#host-kit';
import { silent } from '#kit';
import type { StartSpec } from './driver.js';
import { LxcDriver } from './lxc/lxc.driver.js';
import { MemoryDriver, MemoryMachine } from './memory/memory.driver.js';
import { cannotRunContainers, makeBusyboxRootfs } from './testing/busybox-rootfs.js';
import { driverContract } from './testing/driver-contract.js';

const directory = mkdtempSync(join(tmpdir(), 'muster-drv-'));
const hash = createHash('sha256').update(directory).digest('hex').slice(0, 6);
chmodSync(directory, 0o711);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const spec = (): StartSpec => ({
  hostName: `${hash}-c1`,
  logDirectory: join(directory, 'logs'),
  name: 'c1',
  architecture: 'x86_64',
  config: {},
  idmap: baseIdmap(1_000_000, 65_536),
  rootfs: join(directory, 'c1/rootfs'),
  rootfsIdmapped: true,
  devices: [],
});

const machine = new MemoryMachine();
driverContract('memory', () => ({
  make: (options) => new MemoryDriver(options, machine),
  spec,
  commands: { ok: ['true'], three: ['exit', '3'], copy: ['cat'], stay: ['sleep', '60'], missing: ['nope'] },
}));

describe.skipIf(cannotRunContainers())('lxc', () => {
  if (!cannotRunContainers()) {
    mkdirSync(join(directory, 'c1'), { mode: 0o711 });
    makeBusyboxRootfs(join(directory, 'c1/rootfs'));
  }
  driverContract('lxc', () => ({
    make: (options) => new LxcDriver({ ...options, directory: join(directory, 'lxc'), log: silent }),
    spec,
    commands: { ok: ['true'], three: ['sh', '-c', 'exit 3'], copy: ['cat'], stay: ['sleep', '60'], missing: ['nope'] },
  }));
});
