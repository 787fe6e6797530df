import { Cgroup, detectCgroups, runOk } from '#host-kit';
import type { HostContext } from '#members';
import type { DeviceOwner } from '../device-driver.js';

/** Key and value of LXC's configuration that allow a device from the start. */
export function allowLine(rule: string): [string, string] {
  const v1 = detectCgroups().controllers.has('devices');
  return [v1 ? 'lxc.cgroup.devices.allow' : 'lxc.cgroup2.devices.allow', rule];
}

/** What every container may use, whatever its devices: a device that gives one of these must not take it away when it goes. */
const always = new Set(['c 1:3', 'c 1:5', 'c 1:7', 'c 1:8', 'c 1:9', 'c 5:0', 'c 5:1', 'c 5:2', 'c 10:200', 'c 10:229']);

/**
 * Lets a running container use a device, or no longer. Version 1 has a file for it; version 2 a program in the kernel, which only the container's monitor
 * can change.
 */
export async function setAllowed(context: HostContext, owner: DeviceOwner, rule: string, allowed: boolean): Promise<void> {
  if (!allowed && always.has(rule.slice(0, rule.lastIndexOf(' ')))) return;
  const lxc = context.naming.lxc(owner.project, owner.name);
  const key = allowed ? 'devices.allow' : 'devices.deny';
  const layout = detectCgroups();
  if (layout.controllers.has('devices')) return new Cgroup(layout, `lxc.payload.${lxc}`).write('devices', key, rule);
  await runOk('lxc-cgroup', [...(owner.lxcPath ? ['-P', owner.lxcPath] : []), '-n', lxc, key, rule], {
    failure: 'Could not change which devices the instance may use',
    timeoutMs: 10_000,
  });
}
