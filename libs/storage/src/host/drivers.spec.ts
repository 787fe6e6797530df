import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { silent } from '#kit';
import { storageDriverContract, type StorageHarness } from '#testkit';
import { memoryFactory, MemoryDriver } from './memory/memory.driver.js';
import { driverFactories } from './registry.js';
import { unmountAll } from './files.js';

storageDriverContract('memory', async () => {
  const driver = memoryFactory.open({ name: 'p', path: '/pool', stateDir: '/', config: {}, log: silent }) as MemoryDriver;
  await driver.createPool();
  return {
    driver,
    write: async (path, file, text) => void driver.filesAt(path).set(file, text),
    read: async (path, file) => driver.filesAt(path).get(file),
    [Symbol.asyncDispose]: async () => {},
  };
});

/** A pool on this host's disk, gone afterwards with its mounts. */
async function realPool(name: string, config: Record<string, string>): Promise<StorageHarness> {
  const stateDir = await mkdtemp(`${tmpdir()}/muster-storage-`);
  const path = `${stateDir}/storage-pools/pool`;
  await mkdir(path, { recursive: true });
  const place = { name: 'pool', path, stateDir, log: silent };
  const recorded = await driverFactories[name]!.open({ ...place, config }).createPool();
  const driver = driverFactories[name]!.open({ ...place, config: recorded });
  await driver.mountPool();
  return {
    driver,
    write: (volumePath, file, text) => writeFile(`${volumePath}/${file}`, text),
    read: (volumePath, file) => readFile(`${volumePath}/${file}`, 'utf8').catch(() => undefined),
    async [Symbol.asyncDispose]() {
      await driver.removePool();
      await unmountAll(path);
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

const asRoot = process.getuid?.() === 0;
if (asRoot) {
  storageDriverContract('dir', () => realPool('dir', {}));
  storageDriverContract('btrfs', () => realPool('btrfs', { size: '512MiB' }));
}
