import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { givesAddresses, type Addresses, type NetworkDriver } from '#networks/host';
import type { ManagedNetwork } from '#networks/model';

/** The driver under test, a network that it can make here, and another whose addresses do not meet it. */
export interface NetworkHarness extends AsyncDisposable {
  driver: NetworkDriver;
  network: ManagedNetwork;
  other: ManagedNetwork;
  /** A new object for the same host, as after a restart of the daemon. */
  again(): NetworkDriver;
}

/** The promises of host/driver.ts, kept by every network driver. `open` is called once; whatever is left at the end must be gone by `remove`. */
export function networkDriverContract(name: string, open: () => Promise<NetworkHarness>): void {
  describe(`network driver ${name}`, () => {
    let rig: NetworkHarness;
    let driver: NetworkDriver;
    const addresses = (): NetworkDriver & Addresses => {
      if (!givesAddresses(driver)) throw new Error(`${name} gives no addresses`);
      return driver;
    };
    const nic = (instance: string, project = 'default') => ({ project, instance, device: 'eth0' });

    beforeAll(async () => {
      rig = await open();
      driver = rig.driver;
    }, 60_000);
    afterAll(async () => {
      for (const network of [rig?.network, rig?.other]) if (network) await driver.remove(network);
      await rig?.[Symbol.asyncDispose]();
    }, 60_000);

    it('makes a network, and makes it again without a difference', async () => {
      await driver.check(rig.network);
      expect(driver.interfaceOf(rig.network)).toBeUndefined();
      await driver.apply(rig.network);
      const link = driver.interfaceOf(rig.network);
      expect(link).toBeDefined();
      await driver.apply(rig.network);
      expect(driver.interfaceOf(rig.network)).toBe(link);
      await driver.check(rig.network);
    });

    it('refuses a name that is taken', async () => {
      await expect((async () => driver.check({ ...rig.other, name: rig.network.name }))()).rejects.toMatchObject({ kind: 'invalid' });
    });

    it('promises each nic its own address, and none twice', async () => {
      if (!driver.capabilities.addresses) return;
      const of = addresses();
      const first = of.freeAddress(rig.network, nic('a'), 4)!;
      await of.setHost(rig.network, { ...nic('a'), hwaddr: '00:16:3E:00:00:01', ipv4: first });
      expect(of.host(rig.network, nic('a'))).toMatchObject({ hwaddr: '00:16:3e:00:00:01', ipv4: first });
      expect(of.freeAddress(rig.network, nic('a'), 4)).toBe(first);
      const second = of.freeAddress(rig.network, nic('b'), 4)!;
      expect(second).not.toBe(first);
      await of.setHost(rig.network, { ...nic('b'), hwaddr: '00:16:3e:00:00:02', ipv4: second });
      await expect(of.setHost(rig.network, { ...nic('b'), hwaddr: '00:16:3e:00:00:02', ipv4: first })).rejects.toMatchObject({ kind: 'conflict' });
      expect(of.host(rig.network, nic('b'))).toBeUndefined();
    });

    it('shows a project its own leases only, and gateways to the network’s project', async () => {
      if (!driver.capabilities.addresses) return;
      const of = addresses();
      await of.setHost(rig.network, { ...nic('c', 'p'), hwaddr: '00:16:3e:00:00:03', ipv4: of.freeAddress(rig.network, nic('c', 'p'), 4) });
      const rows = (project: string) => of.leases(rig.network, project).filter(({ type }) => type !== 'dynamic');
      expect(rows('default').map(({ hostname }) => hostname)).toEqual(expect.arrayContaining([`${rig.network.name}.gw`, 'a']));
      expect(rows('p').map(({ hostname }) => hostname)).toEqual(['c']);
      await of.removeHost(rig.network, nic('c', 'p'));
      await of.removeHost(rig.network, nic('c', 'p'));
      expect(rows('p')).toEqual([]);
    });

    it('keeps networks apart', async () => {
      await driver.apply(rig.other);
      expect(driver.interfaceOf(rig.other)).not.toBe(driver.interfaceOf(rig.network));
      if (driver.capabilities.addresses)
        expect(
          addresses()
            .leases(rig.other, 'default')
            .map(({ hostname }) => hostname),
        ).not.toContain('a');
      await driver.remove(rig.other);
      expect(driver.interfaceOf(rig.other)).toBeUndefined();
      expect(driver.interfaceOf(rig.network)).toBeDefined();
    });

    it('is renamed with its promises, and not onto a name that is taken', async () => {
      await driver.apply(rig.other);
      await expect((async () => driver.rename(rig.network, rig.other.name))()).rejects.toMatchObject({ kind: 'invalid' });
      expect(driver.interfaceOf(rig.network)).toBeDefined();
      await driver.remove(rig.other);
      const renamed = { ...rig.network, name: `${rig.network.name}r` };
      await driver.rename(rig.network, renamed.name);
      expect(driver.interfaceOf(renamed)).toBeDefined();
      if (driver.capabilities.addresses) expect(addresses().host(renamed, nic('a'))).toBeDefined();
      await driver.rename(renamed, rig.network.name);
    });

    it('goes on under a new daemon, and sweeps what no network stands for', async () => {
      await driver.apply(rig.other);
      driver.release();
      driver = rig.again();
      expect(driver.interfaceOf(rig.network)).toBeDefined();
      await driver.apply(rig.network);
      await driver.sweep((id) => id === rig.network.id);
      expect(driver.interfaceOf(rig.other)).toBeUndefined();
      expect(driver.interfaceOf(rig.network)).toBeDefined();
    });

    it('takes its interface away when the machine stops, and brings it back with its promises', async () => {
      await driver.stop(rig.network);
      await driver.stop(rig.network);
      expect(driver.interfaceOf(rig.network)).toBeUndefined();
      await driver.apply(rig.network);
      if (driver.capabilities.addresses) expect(addresses().host(rig.network, nic('a'))).toBeDefined();
    });

    it('is removed, and nothing there is removed too', async () => {
      await driver.remove(rig.network);
      await driver.remove(rig.network);
      expect(driver.interfaceOf(rig.network)).toBeUndefined();
      if (driver.capabilities.addresses) expect(addresses().host(rig.network, nic('a'))).toBeUndefined();
    });
  });
}
