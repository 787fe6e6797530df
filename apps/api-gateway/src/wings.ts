import type { Provider } from '@nestjs/common';
import { eventsControllers } from '#events/http';
import { identityControllers } from '#identities/http';
import { imagesControllers } from '#images/http';
import { networksControllers } from '#networks/http';
import { operationsControllers } from '#operations/http';
import { PROFILE_RULES, profilesControllers, type ProfileRules } from '#profiles/http';
import { PROJECT_USAGE, projectsControllers, type ProjectUsage } from '#projects/http';
import { serverControllers } from '#server/http';
import { storageControllers } from '#storage/http';
import { warningsControllers } from '#warnings/http';

/** The http wings that a gateway serves, from the ground up. */
export const controllers: (new (...args: never[]) => object)[] = [
  ...eventsControllers,
  ...warningsControllers,
  ...identityControllers,
  ...projectsControllers,
  ...operationsControllers,
  ...serverControllers,
  ...profilesControllers,
  ...networksControllers,
  ...storageControllers,
  ...imagesControllers,
];

const profileRules: ProfileRules = {
  check: () => undefined,
  checkChange: () => undefined,
  changed: async () => undefined,
};

const projectUsage: ProjectUsage = {
  resources: () => ({}),
};

/** What lower subjects ask of higher ones. */
export const providers: Provider[] = [
  { provide: PROFILE_RULES, useValue: profileRules },
  { provide: PROJECT_USAGE, useValue: projectUsage },
];
