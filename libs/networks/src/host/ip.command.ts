import { readdirSync, readFileSync } from 'node:fs';
import { ip, run, runOk } from '#host-kit';
import { fault, Fault } from '#kit';

/** What #host-kit's `ip` leaves open: many commands at once, and what sysfs tells without a program. */

const timeoutMs = 10_000;

/** Runs several `ip` commands in one process, in order, until one fails. Words may hold no white space. @throws Fault internal */
export async function ipBatch(commands: readonly (readonly string[])[], failure = 'Could not change a network interface'): Promise<void> {
  if (commands.length === 0) return;
  for (const word of commands.flat()) {
    if (!/^[^\s"'#\\]+$/.test(word)) throw fault.internal(failure, { detail: `not a word for ip: ${word}` });
  }
  await runOk('ip', ['-batch', '-'], { timeoutMs, failure, input: commands.map((words) => `${words.join(' ')}\n`).join('') });
}

/** Like `ip`, when it does not matter whether it succeeds (deleting what may be gone). True when it did. */
export async function ipMaybe(args: readonly string[]): Promise<boolean> {
  try {
    await ip(args);
    return true;
  } catch (error) {
    if (error instanceof Fault) return false;
    throw error;
  }
}

/** Output of `ip -j`, [] when it shows nothing or the interface is not there. */
export async function ipShow<T>(args: readonly string[]): Promise<T[]> {
  const result = await run('ip', ['-j', ...args], { timeoutMs, outputMaxBytes: 16 << 20 });
  const text = result.stdout.toString('utf8').trim();
  return result.code === 0 && text !== '' ? (JSON.parse(text) as T[]) : [];
}

export interface IpAddressInfo {
  family: 'inet' | 'inet6';
  local: string;
  prefixlen: number;
  scope: string;
}

/** Addresses of one interface as `ip -j addr` gives them. */
export async function addressesOf(link: string): Promise<IpAddressInfo[]> {
  const [shown] = await ipShow<{ addr_info?: IpAddressInfo[] }>(['addr', 'show', 'dev', link]);
  return shown?.addr_info ?? [];
}

const sys = '/sys/class/net';

/** Names of all interfaces of the host, veths left out, as LXD lists them. */
export const listLinks = (): string[] => readdirSync(sys).filter((link) => !link.startsWith('veth') && link !== 'bonding_masters');

/** A file below /sys/class/net/LINK, trimmed; '' when it is not there. */
export function linkFile(link: string, file: string): string {
  try {
    return readFileSync(`${sys}/${link}/${file}`, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Interfaces whose alias begins with `prefix`: alias → name. How a daemon finds again what it made. */
export function linksByAlias(prefix: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const link of readdirSync(sys)) {
    const alias = linkFile(link, 'ifalias');
    if (alias.startsWith(prefix)) found.set(alias, link);
  }
  return found;
}
