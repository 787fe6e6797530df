import { statSync } from 'node:fs';
import { toHost, type DeviceNode, type Idmap, type Owner } from '#host-kit';
import { fault } from '#kit';
import type { Device } from '../device-driver.js';

/** A device node as it is to appear in an instance. */
export interface NodeSpec extends DeviceNode {
  /** Relative to the instance's root. */
  target: string;
  mode: number;
  /** On the host, the instance's map applied. */
  owner: Owner;
}

/** Type and numbers of a device node of the host; undefined when there is nothing. @throws Fault invalid for anything else than a device node */
export function hostNode(path: string): DeviceNode | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!found) return undefined;
  const type = found.isCharacterDevice() ? 'char' : found.isBlockDevice() ? 'block' : undefined;
  if (!type) throw fault.invalid('Not a device');
  const { rdev } = found;
  return {
    type,
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}

/** Mode, owner and group that a device's keys ask for. */
export function nodeSpec(device: Device, node: DeviceNode, path: string, idmap?: Idmap): NodeSpec {
  const owner = { uid: Number(device['uid'] || 0), gid: Number(device['gid'] || 0) };
  return {
    ...node,
    target: path.split('/').filter(Boolean).join('/'),
    mode: parseInt(device['mode'] || '0660', 8),
    // An id that the map does not hold stays the host's, and shows as nobody's inside.
    owner: idmap ? { uid: toHost(idmap, 'uid', owner.uid) ?? owner.uid, gid: toHost(idmap, 'gid', owner.gid) ?? owner.gid } : owner,
  };
}

/** `c 10:232 rwm`: the rule of the devices cgroup that lets a node be used. */
export const deviceRule = ({ type, major, minor }: DeviceNode): string => `${type === 'char' ? 'c' : 'b'} ${major}:${minor} rwm`;
