import type { Provider } from '@nestjs/common';
import { isTrue } from '#config-keys';
import { clusterControllers, MEMBER_CONFIG } from '#cluster/http';
import { eventsControllers } from '#events/http';
import { identityControllers } from '#identities/http';
import { imagesControllers } from '#images/http';
import { MEMBERS, REPLICA } from '#http-kit';
import { INSTANCE_BACKUPS, INSTANCE_TRANSFERS, InstanceViews, instanceProfileRules, instancesControllers } from '#instances/http';
import { projectUsage } from '#instances/state';
import type { Members } from '#members';
import { networksControllers } from '#networks/http';
import { operationsControllers } from '#operations/http';
import { PROFILE_RULES, profilesControllers } from '#profiles/http';
import { PROJECT_USAGE, projectsControllers, type ProjectUsage } from '#projects/http';
import type { Replica } from '#replica';
import { SQL_BRIDGE, serverControllers } from '#server/http';
import { VOLUME_TRANSFERS, storageControllers } from '#storage/http';
import { Transfers, instanceBackups, transferControllers } from '#transfer/http';
import { warningsControllers } from '#warnings/http';
import { memberConfig } from './member-config.js';
import { sqlBridge } from './sql-bridge.js';

/** The http wings that a gateway serves, from the ground up. */
export const controllers: (new (...args: never[]) => object)[] = [
  ...eventsControllers,
  ...warningsControllers,
  ...identityControllers,
  ...projectsControllers,
  ...operationsControllers,
  ...serverControllers,
  ...profilesControllers,
  ...clusterControllers,
  ...networksControllers,
  ...storageControllers,
  ...imagesControllers,
  ...instancesControllers,
  ...transferControllers,
];

/** What lower subjects ask of higher ones. */
export const providers: Provider[] = [
  InstanceViews,
  { provide: Transfers, inject: [REPLICA, MEMBERS], useFactory: (replica: Replica, members: Members) => new Transfers(replica, members) },
  { provide: INSTANCE_TRANSFERS, useExisting: Transfers },
  { provide: VOLUME_TRANSFERS, useExisting: Transfers },
  { provide: INSTANCE_BACKUPS, useValue: instanceBackups },
  {
    provide: PROFILE_RULES,
    inject: [REPLICA, MEMBERS],
    useFactory: (replica: Replica, members: Members) =>
      instanceProfileRules(replica, members, { unprivilegedOnly: isTrue(process.env.LXD_UNPRIVILEGED_ONLY) }),
  },
  { provide: MEMBER_CONFIG, useValue: memberConfig },
  { provide: SQL_BRIDGE, useValue: sqlBridge },
  { provide: PROJECT_USAGE, useValue: { resources: projectUsage } satisfies ProjectUsage },
];
