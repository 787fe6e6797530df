import { run, runOk } from '#host-kit';
import { parseBitRate } from '#kit';
import type { Device } from '../device-driver.js';

/**
 * Lines for `tc -batch` that limit a nic at its host end. Into the instance is what leaves the host's interface: shaped. Out of it is what arrives there,
 * and can only be policed. Pure.
 */
export function limitCommands(link: string, device: Device): string[] {
  const ingress = device['limits.max'] || device['limits.ingress'];
  const egress = device['limits.max'] || device['limits.egress'];
  const lines: string[] = [];
  if (ingress) {
    lines.push(`qdisc add dev ${link} root handle 1:0 htb default 10`);
    lines.push(`class add dev ${link} parent 1:0 classid 1:10 htb rate ${parseBitRate(ingress)}bit`);
    lines.push(`filter add dev ${link} parent 1:0 protocol all u32 match u32 0 0 flowid 1:1`);
  }
  if (egress) {
    lines.push(`qdisc add dev ${link} handle ffff:0 ingress`);
    lines.push(
      `filter add dev ${link} parent ffff:0 protocol all u32 match u32 0 0 police rate ${parseBitRate(egress)}bit burst 1024k mtu 64kb drop flowid :1`,
    );
  }
  return lines;
}

/** Makes the limits of a host interface what the device says; none where it says nothing. @throws Fault */
export async function setLimits(link: string, device: Device): Promise<void> {
  // Nothing there to delete is the usual case.
  await run('tc', ['qdisc', 'delete', 'dev', link, 'root'], { timeoutMs: 10_000 });
  await run('tc', ['qdisc', 'delete', 'dev', link, 'ingress'], { timeoutMs: 10_000 });
  const lines = limitCommands(link, device);
  if (lines.length > 0)
    await runOk('tc', ['-batch', '-'], { input: `${lines.join('\n')}\n`, timeoutMs: 10_000, failure: 'Could not set the limits of a nic' });
}
