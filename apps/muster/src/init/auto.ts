import { existsSync } from 'node:fs';
import type { Network, Profile } from '#api-contract';
import type { Api } from '../api.js';
import type { Preseed, ProfilePreseed } from './preseed.js';

export interface AutoOptions {
  networkAddress?: string;
  networkPort?: string;
  storageBackend?: string;
  storageCreateDevice?: string;
  storageCreateLoop?: string;
  storagePool?: string;
  trustPassword?: string;
}

const backends = ['btrfs', 'ceph', 'cephfs', 'cephobject', 'dir', 'lvm', 'zfs'];

/** What `init --auto` and `--minimal` set up: a pool, a bridge, and both in the default profile, each only where there is none yet. */
export async function autoPreseed(api: Api, options: AutoOptions): Promise<Preseed> {
  await checkOptions(api, options);
  const preseed: Preseed = { config: {} };
  if (options.networkAddress) {
    const host = options.networkAddress.includes(':') ? `[${options.networkAddress.replace(/^\[|\]$/g, '')}]` : options.networkAddress;
    preseed.config!['core.https_address'] = `${host}:${options.networkPort ?? '8443'}`;
    if (options.trustPassword) preseed.config!['core.trust_password'] = options.trustPassword;
  }
  const devices: ProfilePreseed['devices'] = {};
  const pools = await api.get<string[]>('/1.0/storage-pools');
  if (pools.length === 0) {
    const { storageCreateDevice: device, storageCreateLoop: loop, storagePool } = options;
    const name = storagePool && (device || loop) ? storagePool : 'default';
    const config: Record<string, string> = device ? { source: device } : loop ? { size: `${loop}GB` } : storagePool ? { source: storagePool } : {};
    preseed.storage_pools = [{ name, driver: options.storageBackend || 'dir', config }];
    devices.root = { type: 'disk', path: '/', pool: name };
  }
  const networks = await api.get<Network[]>('/1.0/networks?recursion=1');
  const profile = await api.get<Profile>('/1.0/profiles/default');
  const hasNic = Object.values(profile.devices).some((device) => device.type === 'nic');
  if (!networks.some(({ managed }) => managed) && !hasNic) {
    const name = freeBridgeName();
    preseed.networks = [{ name, type: 'bridge', project: 'default', config: {} }];
    devices.eth0 = { type: 'nic', network: name, name: 'eth0' };
  }
  if (Object.keys(devices).length > 0) preseed.profiles = [{ name: 'default', devices }];
  return preseed;
}

async function checkOptions(api: Api, options: AutoOptions): Promise<void> {
  const { storageBackend: backend, storageCreateDevice: device, storageCreateLoop: loop, storagePool: pool } = options;
  if (backend && !backends.includes(backend)) throw new Error(`The requested backend '${backend}' isn't supported by muster init`);
  if (backend) {
    const { environment } = await api.get<{ environment: { storage_supported_drivers: { Name: string }[] } }>('/1.0');
    if (!environment.storage_supported_drivers.some(({ Name }) => Name === backend)) {
      throw new Error(`The requested backend '${backend}' isn't available on your system (missing tools)`);
    }
  }
  if ((!backend || backend === 'dir') && (loop || device || pool)) {
    throw new Error("None of --storage-pool, --storage-create-device or --storage-create-loop may be used with the 'dir' backend");
  }
  if (loop && device) throw new Error('Only one of --storage-create-device or --storage-create-loop can be specified');
  if (!options.networkAddress && options.networkPort) throw new Error("--network-port can't be used without --network-address");
  if (!options.networkAddress && options.trustPassword) throw new Error("--trust-password can't be used without --network-address");
  if ((backend || device || loop || pool) && (await api.get<string[]>('/1.0/storage-pools')).length > 0)
    throw new Error('Storage has already been configured');
}

export function freeBridgeName(): string {
  for (let number = 0; ; number++) if (!existsSync(`/sys/class/net/lxdbr${number}`)) return `lxdbr${number}`;
}
