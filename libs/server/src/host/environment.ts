import { readFileSync } from 'node:fs';
import os from 'node:os';
import { findProgram, run } from '#host-kit';
import type { ServerInfo } from '#members';
import type { EnvironmentPart } from './server-host.js';
import { kernelFeatures } from './kernel-features.js';
import { lxcFeatures, lxcVersion } from './lxc-features.js';

/** `environment` of GET /1.0, without what only the gateway knows (addresses, certificate, project). */
export interface Environment {
  architectures: string[];
  driver: string;
  driver_version: string;
  firewall: string;
  kernel: string;
  kernel_architecture: string;
  kernel_features: Record<string, string>;
  kernel_version: string;
  lxc_features: Record<string, string>;
  os_name: string;
  os_version: string;
  server: string;
  server_clustered: boolean;
  server_event_mode: string;
  server_name: string;
  server_pid: number;
  server_version: string;
  storage: string;
  storage_version: string;
  storage_supported_drivers: { Name: string; Version: string; Remote: boolean }[];
}

type Machine = Pick<
  Environment,
  | 'architectures'
  | 'driver'
  | 'driver_version'
  | 'firewall'
  | 'kernel'
  | 'kernel_architecture'
  | 'kernel_features'
  | 'kernel_version'
  | 'lxc_features'
  | 'os_name'
  | 'os_version'
>;

let machine: Promise<Machine> | undefined;

/** What does not change while the daemon runs is looked up once. */
export async function environment(server: ServerInfo, parts: readonly EnvironmentPart[]): Promise<Environment> {
  const own: Environment = {
    ...(await (machine ??= look())),
    // Clients take a server for what this says; the API is LXD's.
    server: 'lxd',
    server_clustered: server.memberName() !== 'none',
    server_event_mode: 'full-mesh',
    server_name: server.memberName() === 'none' ? os.hostname() : server.memberName(),
    server_pid: server.pid,
    server_version: server.version,
    storage: '',
    storage_version: '',
    storage_supported_drivers: [],
  };
  for (const part of parts) Object.assign(own, await part());
  return own;
}

async function look(): Promise<Machine> {
  const release = osRelease();
  const version = await lxcVersion();
  return {
    architectures: architectures(os.machine()),
    driver: version === undefined ? '' : 'lxc',
    driver_version: version ?? '',
    firewall: await firewall(),
    kernel: os.type(),
    kernel_architecture: os.machine(),
    kernel_features: kernelFeatures(os.release()),
    kernel_version: os.release(),
    lxc_features: lxcFeatures(),
    os_name: release.NAME ?? '',
    os_version: release.VERSION_ID ?? '',
  };
}

const personalities: Record<string, string[]> = { x86_64: ['x86_64', 'i686'], aarch64: ['aarch64', 'armv7l'] };

const architectures = (machine: string): string[] => personalities[machine] ?? [machine];

/** nftables where `nft` works here, as LXD prefers it; else iptables' name for itself. */
async function firewall(): Promise<string> {
  if (findProgram('nft') === undefined) return 'xtables';
  const { code } = await run('nft', ['list', 'tables'], { timeoutMs: 5_000 }).catch(() => ({ code: 1 }));
  return code === 0 ? 'nftables' : 'xtables';
}

function osRelease(): Record<string, string> {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    try {
      const pairs = readFileSync(path, 'utf8').matchAll(/^([A-Z_]+)=(?:"(.*)"|'(.*)'|(.*))$/gm);
      return Object.fromEntries([...pairs].map(([, key, double, single, bare]) => [key, double ?? single ?? bare ?? '']));
    } catch {
      continue;
    }
  }
  return {};
}
