import { deleteLink, linkExists, moveLink, changeLink } from '#host-kit';
import { fault } from '#kit';
import type { HostContext } from '#members';
import { ipBatch, linkFile, linksByAlias } from '#networks/host';
import type { DeviceOwner } from '../device-driver.js';
import { randomLinkName } from './names.js';

const aliasPrefix = ({ naming }: Pick<HostContext, 'naming'>): string => `muster:${naming.hash || 'default'}:nic:`;

/** What an interface of a nic bears on the host, so that it is found again when its instance is not there to remember it. */
export const nicAlias = (context: Pick<HostContext, 'naming'>, owner: Pick<DeviceOwner, 'id'>, name: string): string =>
  `${aliasPrefix(context)}${owner.id}:${name}`;

/**
 * Removes interfaces on the host that this daemon made for nics of instances that do not run. `running` holds ids. For the start, once it is known
 * which instances run.
 */
export async function sweepNics(context: Pick<HostContext, 'naming' | 'log'>, running: ReadonlySet<number>): Promise<void> {
  const prefix = aliasPrefix(context);
  for (const [alias, link] of linksByAlias(prefix)) {
    const id = Number(alias.slice(prefix.length).split(':')[0]);
    if (running.has(id)) continue;
    context.log.info({ interface: link, instance: id }, 'removing what a nic left behind');
    await deleteLink(link);
  }
}

export interface VethPair {
  host: string;
  /** To be moved into the container. */
  peer: string;
}

/** Two joined interfaces, down, marked as ours. @throws Fault conflict when `host` is taken by something that is not this nic's */
export async function makeVethPair(host: string, alias: string, options: { hwaddr?: string; mtu?: string }): Promise<VethPair> {
  // What an earlier start that was cut short left.
  if (linkFile(host, 'ifalias') === alias) await deleteLink(host);
  if (linkExists(host)) throw fault.conflict(`Network interface "${host}" already exists`);
  const peer = randomLinkName('veth');
  const mtu = options.mtu ? ['mtu', options.mtu] : [];
  const address = options.hwaddr ? ['address', options.hwaddr] : [];
  await ipBatch(
    [
      ['link', 'add', 'name', host, ...mtu, 'type', 'veth', 'peer', 'name', peer, ...address, ...mtu],
      ['link', 'set', 'dev', host, 'alias', alias],
    ],
    `Failed to create the veth interfaces "${host}" and "${peer}"`,
  );
  return { host, peer };
}

/**
 * Lines by which liblxc takes an interface of the host into the container. It gives such an interface back when the container stops, and takes it
 * again at a reboot, all by itself: what hangs on the host's end (bridge, filters, limits, routes) stays.
 */
export function physicalLines(index: number, link: string, name: string): [string, string][] {
  const key = (word: string): string => `lxc.net.${index}.${word}`;
  return [
    [key('type'), 'phys'],
    [key('name'), name],
    [key('flags'), 'up'],
    [key('link'), link],
  ];
}

/** The number of a nic among those of its instance: the same at every start. */
export const nicIndex = (owner: Pick<DeviceOwner, 'devices'>, name: string): number =>
  Object.keys(owner.devices)
    .filter((other) => owner.devices[other]!['type'] === 'nic')
    .sort()
    .indexOf(name);

/** Moves an interface into a running container, under its name there, and switches it on. */
export async function moveIntoContainer(link: string, pid: number, name: string): Promise<void> {
  await moveLink(link, pid, name);
  await changeLink(name, { up: true }, { pid });
}
