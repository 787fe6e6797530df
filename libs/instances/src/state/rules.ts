import type { ConfigMap, DevicesMap, InstanceType } from '#api-contract';
import { checkInstanceNics, validateDevices, type DeviceSurroundings } from '#devices/model';
import { fault, Fault } from '#kit';
import { findNetwork } from '#networks/state';
import { expand } from '#profiles/model';
import { profilesNamed, type ProfileRecord } from '#profiles/state';
import { effectiveProject } from '#projects/state';
import type { Reader } from '#replica/state';
import { findPool } from '#storage/state';
import { checkConfig } from '../model/index.js';
import { instances, profileProject, type InstanceRecord } from './queries.js';

/** What instances and profiles of a project are checked against. */
export function surroundings(reader: Reader, project: string, instanceType: DeviceSurroundings['instanceType']): DeviceSurroundings {
  const networkProject = effectiveProject(reader, project, 'features.networks');
  return {
    project,
    instanceType,
    network: (name) => findNetwork(reader, networkProject, name),
    poolExists: (name) => findPool(reader, name) !== undefined,
  };
}

const prefixed = (prefix: string, check: () => void): void => {
  try {
    check();
  } catch (error) {
    if (!(error instanceof Fault) || error.kind === 'internal') throw error;
    // LXD answers these with 500, in whatever way they reach it.
    throw fault.invalid(`${prefix}: ${error.message}`, { cause: error, status: 500 });
  }
};

/** The profiles of an instance, each once. @throws Fault invalid */
export function profilesFor(reader: Reader, project: string, names: readonly string[]): ProfileRecord[] {
  if (new Set(names).size < names.length) throw fault.invalid('Duplicate profile found in request', { status: 500 });
  return profilesNamed(reader, profileProject(reader, project), names);
}

export interface Wanted {
  project: string;
  type: InstanceType;
  config: ConfigMap;
  devices: DevicesMap;
  profiles: readonly ProfileRecord[];
}

/**
 * Whether an instance may be as wanted, by itself and with its profiles; gives what is in force.
 * @throws Fault invalid, its sentence as LXD's: "Invalid config: …", "Invalid devices: …"
 */
export function checkWanted(reader: Reader, wanted: Wanted, words: 'create' | 'update'): { config: ConfigMap; devices: DevicesMap } {
  const { project, type, config, devices, profiles } = wanted;
  const expanded = expand(profiles, config, devices);
  prefixed('Invalid config', () => checkConfig(config, type));
  prefixed(words === 'create' ? 'Invalid config' : 'Invalid expanded config', () => checkConfig(expanded.config, 'any'));
  prefixed(words === 'create' ? 'Invalid devices' : 'Invalid expanded devices', () =>
    validateDevices(expanded.devices, surroundings(reader, project, type)),
  );
  return expanded;
}

/**
 * Whether the nics of an instance, changed by a user, can live beside those of its member's other instances. Looked at only when they changed: it reads all.
 * @throws Fault conflict
 */
export function checkNics(reader: Reader, before: InstanceRecord, expanded: { config: ConfigMap; devices: DevicesMap }): void {
  const nicsOf = (devices: DevicesMap): string =>
    JSON.stringify(
      Object.entries(devices)
        .filter(([, device]) => device.type === 'nic')
        .sort(),
    );
  if (nicsOf(before.expandedDevices) === nicsOf(expanded.devices)) return;
  const { id, project, name, memberId, type } = before;
  const others = instances(reader, { memberId })
    .filter((other) => other.id !== id)
    .map((other) => ({ project: other.project, name: other.name, config: other.expandedConfig, devices: other.expandedDevices }));
  checkInstanceNics({ project, name, ...expanded }, others, surroundings(reader, project, type));
}
