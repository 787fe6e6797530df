import { run, runOk } from '#host-kit';
import { parseBitRate } from '#kit';
import type { Firewall } from '#networks/host';
import type { Device } from '../device-driver.js';

const timeoutMs = 10_000;
const inwards = (device: Device): string => device['limits.max'] || device['limits.ingress'] || '';
const outwards = (device: Device): string => device['limits.max'] || device['limits.egress'] || '';

export const isLimited = (device: Device): boolean => inwards(device) !== '' || outwards(device) !== '';

/**
 * Makes the limits of a nic's host end what `device` says. Into the instance is what leaves the host's interface: shaped. Out of it is what arrives there, and
 * can only be policed: by tc, or, where the kernel lacks that action, by nftables.
 * @param before what was in force; undefined for a new interface
 * @throws Fault
 */
export async function setLimits(firewall: Firewall, label: string, link: string, device: Device, before?: Device): Promise<void> {
  if (before) await clearLimits(firewall, label, link, before);
  if (inwards(device)) await tc(shapeCommands(link, parseBitRate(inwards(device))));
  if (!outwards(device)) return;
  const rate = parseBitRate(outwards(device));
  const policed = await run('tc', ['-batch', '-'], { input: policeCommands(link, rate), timeoutMs });
  if (policed.code === 0) return;
  await run('tc', ['qdisc', 'delete', 'dev', link, 'ingress'], { timeoutMs });
  await firewall.setRate(label, link, Math.max(1, Math.floor(rate / 8)));
}

/** Takes off limits that `device` had; an interface that is gone took them with it. */
export async function clearLimits(firewall: Firewall, label: string, link: string, device: Device): Promise<void> {
  if (inwards(device)) await run('tc', ['qdisc', 'delete', 'dev', link, 'root'], { timeoutMs });
  if (!outwards(device)) return;
  await run('tc', ['qdisc', 'delete', 'dev', link, 'ingress'], { timeoutMs });
  await firewall.removeRate(label);
}

const tc = (input: string): Promise<Buffer> => runOk('tc', ['-batch', '-'], { input, timeoutMs, failure: 'Could not set the limits of a nic' });

const shapeCommands = (link: string, rate: number): string =>
  [
    `qdisc add dev ${link} root handle 1:0 htb default 10`,
    `class add dev ${link} parent 1:0 classid 1:10 htb rate ${rate}bit`,
    `filter add dev ${link} parent 1:0 protocol all u32 match u32 0 0 flowid 1:1\n`,
  ].join('\n');

const policeCommands = (link: string, rate: number): string =>
  [
    `qdisc add dev ${link} handle ffff:0 ingress`,
    `filter add dev ${link} parent ffff:0 protocol all u32 match u32 0 0 police rate ${rate}bit burst 1024k mtu 64kb drop flowid :1\n`,
  ].join('\n');
