import koffi from 'koffi';
import { findProgram, run } from '#host-kit';

/** Extensions of liblxc that clients ask for. */
const names = [
  'cgroup2',
  'core_scheduling',
  'devpts_fd',
  'idmapped_mounts_v2',
  'mount_injection_file',
  'network_gateway_device_route',
  'network_ipvlan',
  'network_l2proxy',
  'network_phys_macvlan_mtu',
  'network_veth_router',
  'pidfd',
  'seccomp_allow_deny_syntax',
  'seccomp_notify',
  'seccomp_proxy_send_notify_fd',
];

/** What the installed liblxc says of itself; all false where there is none. */
export function lxcFeatures(): Record<string, string> {
  let has: (name: string) => boolean;
  try {
    has = koffi.load('liblxc.so.1').func('bool lxc_has_api_extension(const char *extension)') as unknown as (name: string) => boolean;
  } catch {
    has = () => false;
  }
  return Object.fromEntries(names.map((name) => [name, String(has(name))]));
}

/** Version of the installed LXC programs; undefined when there are none. */
export async function lxcVersion(): Promise<string | undefined> {
  if (findProgram('lxc-start') === undefined) return undefined;
  const { code, stdout } = await run('lxc-start', ['--version'], { timeoutMs: 5_000 }).catch(() => ({ code: 1, stdout: Buffer.alloc(0) }));
  return code === 0 ? stdout.toString().trim() : undefined;
}
