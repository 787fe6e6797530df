import { existsSync, readFileSync } from 'node:fs';
import { fault, Fault } from '#kit';
import { run, type RunResult } from './run.js';

/** Network interfaces, through `ip` (iproute2), on the host or in the network namespace of a process. */
export interface LinkAddress {
  family: 'inet' | 'inet6';
  address: string;
  prefixLength: number;
  /** 'global', 'link', 'host' … */
  scope: string;
}

export interface LinkCounters {
  bytesReceived: number;
  bytesSent: number;
  packetsReceived: number;
  packetsSent: number;
  errorsReceived: number;
  errorsSent: number;
  packetsDroppedInbound: number;
  packetsDroppedOutbound: number;
}

export interface Link {
  index: number;
  name: string;
  /** Index of the other end, or of the parent, in `peerNamespace` or here. */
  peerIndex?: number;
  peerName?: string;
  /** 'UP', 'BROADCAST', 'LOOPBACK', 'LOWER_UP' … */
  flags: string[];
  mtu: number;
  /** 'UP', 'DOWN', 'UNKNOWN' … */
  operState: string;
  /** 'ether', 'loopback', 'none' … */
  type: string;
  /** 'veth', 'bridge', 'macvlan' …; undefined for hardware. */
  kind?: string;
  mac: string;
  /** The bridge it is in. */
  master?: string;
  addresses: LinkAddress[];
  counters: LinkCounters;
}

export interface NamespaceOption {
  /** A process whose network namespace is meant; default: ours. The host's own `ip` runs there, nothing of the container. */
  pid?: number;
}

/** All interfaces with addresses and counters. @throws Fault */
export async function listLinks(options: NamespaceOption = {}): Promise<Link[]> {
  return parseLinks(await ip(['-j', '-s', '-d', 'addr', 'show'], options));
}

/** One interface; undefined if there is none of that name. */
export async function readLink(name: string, options: NamespaceOption = {}): Promise<Link | undefined> {
  const result = await runIp(['-j', '-s', '-d', 'addr', 'show', 'dev', name], options);
  if (isMissing(result)) return undefined;
  if (result.code !== 0) throw ipFailed(['addr', 'show', name], result);
  return parseLinks(result.stdout)[0];
}

/** Is there an interface of that name on the host? Asks sysfs: no program is started. */
export const linkExists = (name: string): boolean => isLinkName(name) && existsSync(`/sys/class/net/${name}`);

/** What the kernel accepts, so that no name becomes an option or a path. */
export const isLinkName = (name: string): boolean => name.length > 0 && name.length <= 15 && !/[/\s:]/.test(name) && !/^[-.]/.test(name);

/** Makes an interface: `ip link add NAME [...settings] type TYPE ...args`. @throws Fault conflict: the name is taken */
export async function addLink(name: string, type: string, args: readonly string[] = [], settings: readonly string[] = []): Promise<void> {
  await ip(['link', 'add', 'name', checked(name), ...settings, 'type', type, ...args]);
}

export interface VethOptions {
  mac?: string;
  peerMac?: string;
  mtu?: number;
}

/** Makes two interfaces that are joined, both down, both on the host. @throws Fault conflict: a name is taken */
export async function addVethPair(name: string, peer: string, options: VethOptions = {}): Promise<void> {
  const mtu = options.mtu === undefined ? [] : ['mtu', String(options.mtu)];
  const mac = (address: string | undefined): string[] => (address === undefined ? [] : ['address', address]);
  await addLink(name, 'veth', ['peer', 'name', checked(peer), ...mac(options.peerMac), ...mtu], [...mac(options.mac), ...mtu]);
}

export interface LinkChanges {
  name?: string;
  mac?: string;
  mtu?: number;
  up?: boolean;
  /** The bridge to be in; null: none. */
  master?: string | null;
}

/** Changes an interface; one that is renamed or gets a MAC should be down. @throws Fault notFound */
export async function changeLink(name: string, changes: LinkChanges, options: NamespaceOption = {}): Promise<void> {
  const words: string[] = [];
  if (changes.mac !== undefined) words.push('address', changes.mac);
  if (changes.mtu !== undefined) words.push('mtu', String(changes.mtu));
  if (changes.master === null) words.push('nomaster');
  else if (changes.master !== undefined) words.push('master', checked(changes.master));
  if (changes.name !== undefined) words.push('name', checked(changes.name));
  if (changes.up !== undefined) words.push(changes.up ? 'up' : 'down');
  if (words.length > 0) await ip(['link', 'set', 'dev', checked(name), ...words], options);
}

/** Moves an interface into the network namespace of a process; it is down there. @throws Fault notFound */
export async function moveLink(name: string, pid: number, newName?: string): Promise<void> {
  await ip(['link', 'set', 'dev', checked(name), 'netns', String(pid), ...(newName === undefined ? [] : ['name', checked(newName)])]);
}

/** Takes an interface out of the namespace of a process, back to the host. @throws Fault notFound */
export async function reclaimLink(name: string, pid: number, newName?: string): Promise<void> {
  await ip(['link', 'set', 'dev', checked(name), 'netns', String(process.pid), ...(newName === undefined ? [] : ['name', checked(newName)])], {
    pid,
  });
}

/** Removes an interface; one that is not there is no error. */
export async function deleteLink(name: string, options: NamespaceOption = {}): Promise<void> {
  const result = await runIp(['link', 'delete', 'dev', checked(name)], options);
  if (result.code !== 0 && !isMissing(result)) throw ipFailed(['link', 'delete', name], result);
}

/** @param address '10.0.0.1/24'; one that is there already is no error */
export async function addAddress(name: string, address: string, options: NamespaceOption = {}): Promise<void> {
  await ip(['addr', 'replace', address, 'dev', checked(name)], options);
}

/** Any other `ip` command ('route', 'neigh' …) with its JSON, or undefined if it says nothing. @throws Fault */
export async function ipJson(args: readonly string[], options: NamespaceOption = {}): Promise<unknown> {
  const text = String(await ip(['-j', ...args], options)).trim();
  return text === '' ? undefined : JSON.parse(text);
}

/** Runs `ip`. @throws Fault notFound: no such interface; conflict: it exists; internal */
export async function ip(args: readonly string[], options: NamespaceOption = {}): Promise<Buffer> {
  const result = await runIp(args, options);
  if (result.code !== 0) throw ipFailed(args, result);
  return result.stdout;
}

/** Traffic counters of a process's namespace by interface, from /proc: no program is started. Node's error when the process is gone. */
export function readCounters(pid: number | 'self'): Map<string, LinkCounters> {
  return parseNetDev(readFileSync(`/proc/${pid}/net/dev`, 'latin1'));
}

export function parseNetDev(text: string): Map<string, LinkCounters> {
  const counters = new Map<string, LinkCounters>();
  for (const line of text.split('\n').slice(2)) {
    const colon = line.lastIndexOf(':');
    if (colon < 0) continue;
    const n = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    counters.set(line.slice(0, colon).trim(), {
      bytesReceived: n[0]!,
      packetsReceived: n[1]!,
      errorsReceived: n[2]!,
      packetsDroppedInbound: n[3]!,
      bytesSent: n[8]!,
      packetsSent: n[9]!,
      errorsSent: n[10]!,
      packetsDroppedOutbound: n[11]!,
    });
  }
  return counters;
}

const runIp = (args: readonly string[], { pid }: NamespaceOption): Promise<RunResult> => {
  const options = { timeoutMs: 20_000, outputMaxBytes: 16 * 1024 * 1024 };
  return pid === undefined ? run('ip', args, options) : run('nsenter', ['-t', String(pid), '-n', 'ip', ...args], options);
};

const isMissing = (result: RunResult): boolean => result.code !== 0 && /does not exist|Cannot find device|No such device/.test(String(result.stderr));

function ipFailed(args: readonly string[], result: RunResult): Fault {
  const words = String(result.stderr).trim();
  const detail = `ip ${args.join(' ')}: ${words}`;
  if (isMissing(result)) return fault.notFound('Network interface not found', { detail });
  if (/File exists/.test(words)) return fault.conflict('The network interface or address already exists', { detail });
  return fault.internal('Could not set up a network interface', { detail });
}

function checked(name: string): string {
  if (!isLinkName(name)) throw fault.invalid(`Invalid network interface name: ${name}`);
  return name;
}

/** The parts of iproute2's JSON that are read here. */
interface IpLink {
  ifindex: number;
  ifname: string;
  link_index?: number;
  link?: string | null;
  flags: string[];
  mtu: number;
  operstate: string;
  link_type: string;
  address?: string;
  master?: string;
  linkinfo?: { info_kind?: string };
  addr_info?: { family: string; local?: string; prefixlen: number; scope: string }[];
  stats64?: Record<'rx' | 'tx', { bytes: number; packets: number; errors: number; dropped: number }>;
}

function parseLinks(json: Buffer): Link[] {
  const text = String(json).trim();
  const links = (text === '' ? [] : JSON.parse(text)) as Partial<IpLink>[];
  // With some filters iproute2 prints empty objects.
  return links.filter((link): link is IpLink => link.ifname !== undefined).map(toLink);
}

function toLink(link: IpLink): Link {
  const none = { bytes: 0, packets: 0, errors: 0, dropped: 0 };
  const { rx, tx } = link.stats64 ?? { rx: none, tx: none };
  return {
    index: link.ifindex,
    name: link.ifname,
    peerIndex: link.link_index,
    peerName: link.link ?? undefined,
    flags: link.flags,
    mtu: link.mtu,
    operState: link.operstate,
    type: link.link_type,
    kind: link.linkinfo?.info_kind,
    mac: link.address ?? '',
    master: link.master,
    addresses: (link.addr_info ?? []).map((info) => ({
      family: info.family === 'inet6' ? 'inet6' : 'inet',
      address: info.local ?? '',
      prefixLength: info.prefixlen,
      scope: info.scope,
    })),
    counters: {
      bytesReceived: rx.bytes,
      bytesSent: tx.bytes,
      packetsReceived: rx.packets,
      packetsSent: tx.packets,
      errorsReceived: rx.errors,
      errorsSent: tx.errors,
      packetsDroppedInbound: rx.dropped,
      packetsDroppedOutbound: tx.dropped,
    },
  };
}
