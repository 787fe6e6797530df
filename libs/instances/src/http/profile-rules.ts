import type { DevicesMap, ProfilePut } from '#api-contract';
import { validateDevices } from '#devices/model';
import { fault } from '#kit';
import { InstancesAgentService, type Members } from '#members';
import type { ProfileRules } from '#profiles/http';
import { profilesNamed } from '#profiles/state';
import type { ReadPort } from '#replica';
import { checkProfileConfig, checkUnprivileged, isRootDisk } from '../model/index.js';
import { instanceById, instancesOfProfile, surroundings } from '../state/index.js';

/** What profiles must know of the instances that use them. */
export function instanceProfileRules(replica: ReadPort, members: Members, options: { unprivilegedOnly?: boolean } = {}): ProfileRules {
  return {
    check(reader, project, { config, devices }: ProfilePut) {
      checkProfileConfig(config);
      if (options.unprivilegedOnly) checkUnprivileged(config);
      validateDevices(devices, surroundings(reader, project, 'any'));
    },
    checkChange(reader, project, name, before, after) {
      const root = rootOf(before.devices);
      if (!root || root.pool === rootOf(after.devices)?.pool) return;
      for (const id of instancesOfProfile(reader, project, name)) {
        const record = instanceById(reader, id);
        if (!record || rootOf(record.devices)) continue;
        // Of its profiles the last that has the device counts.
        const from = profilesNamed(reader, project, record.profiles).findLast(({ devices }) => root.device in devices);
        if (from?.name === name) throw fault.invalid("At least one instance relies on this profile's root disk device", { status: 500 });
      }
    },
    async changed(project, name, before, context) {
      if (instancesOfProfile(replica.reader, project, name).length === 0) return;
      await members
        .calls(InstancesAgentService)
        .profileChanged({ project, name, before: { config: before.config, devices: before.devices } }, context);
    },
  };
}

function rootOf(devices: DevicesMap): { device: string; pool: string } | undefined {
  const found = Object.entries(devices).find(([, device]) => isRootDisk(device));
  return found && { device: found[0], pool: found[1].pool ?? '' };
}
