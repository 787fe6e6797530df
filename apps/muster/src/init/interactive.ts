import { createInterface } from 'node:readline/promises';
import { stringify } from 'yaml';
import type { Api } from '../api.js';
import { autoPreseed, freeBridgeName } from './auto.js';
import type { Preseed } from './preseed.js';

/** Asks, on the terminal, what `--auto` assumes. The questions are those that LXD asks, in its order, for one machine. */
export async function interactivePreseed(api: Api): Promise<Preseed> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const lines = terminal[Symbol.asyncIterator]();
  const ask = async (question: string, fallback: string): Promise<string> => {
    process.stdout.write(`${question} [default=${fallback}]: `);
    const { value, done } = await lines.next();
    if (done) throw new Error('Failed to read the answer: end of input');
    return String(value).trim() || fallback;
  };
  const yes = async (question: string, fallback: boolean): Promise<boolean> =>
    /^(y|yes|true)$/i.test(await ask(`${question} (yes/no)`, fallback ? 'yes' : 'no'));
  const choose = async (question: string, choices: readonly string[], fallback: string): Promise<string> => {
    for (;;) {
      const answer = await ask(`${question} (${choices.join(', ')})`, fallback);
      if (choices.includes(answer)) return answer;
      console.error(`Invalid input: "${answer}" is not one of ${choices.join(', ')}`);
    }
  };
  try {
    const standard = await autoPreseed(api, {});
    const preseed: Preseed = { config: {}, networks: [], storage_pools: [], profiles: [{ name: 'default', devices: {} }] };
    const devices = preseed.profiles![0]!.devices!;
    if (standard.storage_pools && (await yes('Do you want to configure a new storage pool?', true))) {
      const { environment } = await api.get<{ environment: { storage_supported_drivers: { Name: string }[] } }>('/1.0');
      const name = await ask('Name of the new storage pool', 'default');
      const drivers = environment.storage_supported_drivers.map(({ Name }) => Name);
      const driver = await choose('Name of the storage backend to use', drivers, drivers.includes('btrfs') ? 'btrfs' : 'dir');
      const config: Record<string, string> = {};
      if (driver !== 'dir') {
        if (await yes('Would you like to use an existing empty block device?', false))
          config.source = await ask('Path to the existing block device', '');
        else config.size = await ask('Size in GiB of the new loop device', '10GiB');
      }
      preseed.storage_pools!.push({ name, driver, config });
      devices.root = { type: 'disk', path: '/', pool: name };
    }
    if (standard.networks && (await yes('Would you like to create a new local network bridge?', true))) {
      const name = await ask('What should the new bridge be called?', freeBridgeName());
      const config: Record<string, string> = {};
      config['ipv4.address'] = await ask('What IPv4 address should be used? (CIDR subnet notation, "auto" or "none")', 'auto');
      config['ipv6.address'] = await ask('What IPv6 address should be used? (CIDR subnet notation, "auto" or "none")', 'auto');
      preseed.networks!.push({ name, type: 'bridge', project: 'default', config });
      devices.eth0 = { type: 'nic', network: name, name: 'eth0' };
    }
    if (await yes('Would you like the server to be available over the network?', false)) {
      const address = await ask('Address to bind to (not including port)', 'all');
      const port = await ask('Port to bind to', '8443');
      preseed.config!['core.https_address'] = `${address === 'all' ? '[::]' : address}:${port}`;
      const password = await ask('Trust password for new clients (empty: tokens only)', '');
      if (password) preseed.config!['core.trust_password'] = password;
    }
    preseed.config!['images.auto_update_interval'] = (await yes('Would you like stale cached images to be updated automatically?', true)) ? '6' : '0';
    if (await yes('Would you like a YAML "init" preseed to be printed?', false)) console.log(stringify(preseed));
    return preseed;
  } finally {
    terminal.close();
  }
}
